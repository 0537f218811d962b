-- Which record was in hand alone when a process ended, and how many times in a row.
ALTER TABLE messaging.progress ADD COLUMN accused bigint, ADD COLUMN kills integer NOT NULL DEFAULT 0;
