-- A plan that was made while the ledger was small would read all of it for every batch, as long as its connection lives.
ALTER FUNCTION public.append SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off;
