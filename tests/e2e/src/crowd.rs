//! Many users, put straight into a database: through the API they would take minutes. For measurements only.

/// How many roles each user holds, each on another project.
pub const ROLES: usize = 10;

/// So many users have one project among them.
const SHARED: usize = 10;

/// How many rows [`hanse`] makes.
pub fn rows(users: usize) -> usize {
    users + users / SHARED + users * ROLES
}

/// Numbers from zero on as the table `n`, to begin a `SELECT` with.
fn numbers(count: usize) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})")
}

/// `pair` has each user with the projects that they hold a role on; neighbours among the users overlap.
fn pairs(users: usize) -> String {
    let projects = users / SHARED;
    format!(
        "{}, pair(user, project) AS (
           SELECT printf('%032x', i % {users}), printf('%032x', 1000000 + (i % {users} + i / {users}) % {projects}) FROM n)",
        numbers(users * ROLES)
    )
}

/// Statements for the database (SQLite) of a cloud that does not run: users `user-0`, `user-1`, … whose ids are these
/// numbers, without passwords, each with the role reader on ten of the projects `project-0`, …, whose ids begin at
/// a million. What they write is what the API writes, but for the audit trail.
pub fn hanse(users: usize) -> Vec<String> {
    vec![
        format!(
            "INSERT INTO users (id, domain_id, name, enabled, token_epoch, options, extra, created_at)
             {} SELECT printf('%032x', i), 'default', 'user-' || i, 1, 0, '{{}}', '{{}}', 1 FROM n",
            numbers(users)
        ),
        format!(
            "INSERT INTO projects (id, domain_id, parent_id, is_domain, name, description, enabled, tags, options,
                                   extra, token_epoch, created_at)
             {} SELECT printf('%032x', 1000000 + i), 'default', 'default', 0, 'project-' || i, '', 1, '[]', '{{}}',
                       '{{}}', 0, 1 FROM n",
            numbers(users / SHARED)
        ),
        format!(
            "INSERT INTO role_assignments (id, actor_kind, actor_id, scope_kind, scope_id, role_id, inherited, created_at)
             {} SELECT 'user:' || user || '/project:' || project || '/role:' || r.id, 'user', user, 'project', project,
                       r.id, 0, 1
             FROM pair, roles r WHERE r.name = 'reader' AND r.domain_id = ''",
            pairs(users)
        ),
        "UPDATE identity_revision SET revision = revision + 1".to_owned(),
    ]
}

/// The same for a Keystone.
pub fn keystone(users: usize) -> Vec<String> {
    let (people, places) = (numbers(users), numbers(users / SHARED));
    vec![
        format!(
            "INSERT INTO user (id, domain_id, enabled, extra, created_at)
             {people} SELECT printf('%032x', i), 'default', 1, '{{}}', '2026-01-01 00:00:00' FROM n"
        ),
        format!(
            "INSERT INTO local_user (user_id, domain_id, name)
             {people} SELECT printf('%032x', i), 'default', 'user-' || i FROM n"
        ),
        format!(
            "INSERT INTO project (id, domain_id, parent_id, is_domain, name, description, enabled, extra)
             {places} SELECT printf('%032x', 1000000 + i), 'default', 'default', 0, 'project-' || i, '', 1, '{{}}' FROM n"
        ),
        format!(
            "INSERT INTO assignment (type, actor_id, target_id, role_id, inherited)
             {} SELECT 'UserProject', user, project, r.id, 0 FROM pair, role r WHERE r.name = 'reader'",
            pairs(users)
        ),
    ]
}
