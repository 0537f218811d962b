-- Failed claims are looked at again and counted without reading all that wait: a source that was not heard of for a day leaves
-- very many to catch up with.
CREATE INDEX claimed_failed ON public.claimed (looked_at) WHERE problem IS NOT NULL;
