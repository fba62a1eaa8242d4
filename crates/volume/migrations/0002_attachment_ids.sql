-- The id of an attachment is chosen by whoever asks for it. Those that compute had not named before are known by their
-- volume, in both services.
UPDATE volume_attachments SET id = volume_id;
