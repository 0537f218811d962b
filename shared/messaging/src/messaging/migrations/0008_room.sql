-- Room on a page for the next versions of its rows: an update that finds it leaves the indexes alone and logs only what differs.
-- A state is written four times within seconds; with 80 only a third of the updates found room.
ALTER TABLE messaging.state SET (fillfactor = 50);
ALTER TABLE messaging.heard SET (fillfactor = 50);
