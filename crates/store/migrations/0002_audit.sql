-- Where the request came from, if it came over a network.
ALTER TABLE audit_events ADD COLUMN source TEXT;
-- More than one in the row that counts what strangers did beyond the bound; `last_at` is the last of them.
ALTER TABLE audit_events ADD COLUMN times BIGINT NOT NULL DEFAULT 1;
ALTER TABLE audit_events ADD COLUMN last_at BIGINT;
CREATE INDEX audit_events_initiator ON audit_events (initiator, at, id);
CREATE INDEX audit_events_target ON audit_events (target, at, id);
CREATE INDEX audit_events_request ON audit_events (request_id);
CREATE INDEX audit_events_strangers ON audit_events (at) WHERE initiator = 'unknown';
