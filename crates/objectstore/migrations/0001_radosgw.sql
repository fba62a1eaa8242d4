-- Projects whose user in radosgw this cloud has set up. The users of other clouds in the same Ceph are left alone.
CREATE TABLE radosgw_accounts (
    project_id TEXT PRIMARY KEY
);
