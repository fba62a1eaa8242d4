-- An attachment has a name of its own, under which the volume is promised: a volume may come and go twice. Those that are
-- there already are known by their volume, in both services.
ALTER TABLE attachments ADD COLUMN id TEXT NOT NULL DEFAULT '';
UPDATE attachments SET id = volume_id;
