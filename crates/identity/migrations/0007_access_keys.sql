-- The SHA-256 of an EC2 credential's access key, by which it is found: the key may change, and the id stays what it was.
ALTER TABLE credentials ADD COLUMN access_hash TEXT;
UPDATE credentials SET access_hash = id WHERE kind = 'ec2';
CREATE UNIQUE INDEX credentials_access ON credentials (access_hash);
