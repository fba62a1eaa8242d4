-- A list of users by name alone, which is what clients look a user up with; in the order of its pages.
CREATE INDEX users_by_name ON users (name, id);

-- Who holds something on a place, of whatever kind it is.
DROP INDEX role_assignments_scope;
CREATE INDEX role_assignments_place ON role_assignments (scope_id, scope_kind);
