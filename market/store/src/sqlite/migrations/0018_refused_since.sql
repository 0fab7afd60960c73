-- When the first of the refusals in a row ended, in steady time; NULL if there is none. Only then does their number count.
ALTER TABLE mailbox ADD COLUMN refused_since INTEGER;
