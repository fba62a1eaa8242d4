//! Every key of the configuration, with its default and its meaning: the reference is made of them.

/// One key, as it stands in the reference.
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    /// As it would be written in the file; empty if there is no default.
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn key(section: &'static str, name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { section, name, default, meaning }
}

/// Every key there is, in the order of the reference.
pub const KEYS: &[Key] = &[
    key(
        "",
        "state_dir",
        "\"/var/lib/hanse\"",
        "Directory of everything that the cloud keeps: state, keys, images, disks, logs.",
    ),
    key(
        "",
        "user",
        "\"hanse\"",
        "System user that the control plane and the guests run as; made by `hanse up` if it is missing.",
    ),
    key("api", "listen", "\"127.0.0.1:8443\"", "Address and port of the APIs (TLS)."),
    key(
        "api",
        "public_url",
        "\"https://127.0.0.1:8443\"",
        "Address of the APIs as clients reach it; it stands in the catalog and in links.",
    ),
    key("api", "region", "\"RegionOne\"", "Name of the region in the catalog."),
    key("api", "connections", "4096", "Client connections open at once; further ones are refused."),
    key(
        "tls",
        "certificate",
        "",
        "PEM file with a certificate chain of your own; without it, the cloud's own CA issues one.",
    ),
    key("tls", "key", "", "PEM file with the private key of that certificate."),
    key(
        "database",
        "url_file",
        "",
        "File (mode 0600) that holds a postgres:// address. Without it, state is kept in SQLite.",
    ),
    key("identity", "token_minutes", "240", "How long a token is valid."),
    key(
        "identity",
        "token_provider",
        "\"fernet\"",
        "Kind of new tokens: \"fernet\" (sealed, short) or \"jws\" (signed, readable). Those of the other kind stay valid.",
    ),
    key(
        "identity",
        "lockout_failure_attempts",
        "0",
        "Wrong passwords in a row that lock an account; 0: none. Off, since whoever knows a name could lock its owner out, and\n\
         guessing is slowed down anyway: after ten failures a minute for one account from one address come 429s.",
    ),
    key(
        "identity",
        "lockout_duration_seconds",
        "1800",
        "How long such an account is locked; 0: until an administrator enables it again (`enabled: true`).",
    ),
    key(
        "identity",
        "password_expires_days",
        "0",
        "Days after which a new password must be changed; 0: never, as NIST SP 800-63B advises.",
    ),
    key(
        "identity",
        "unique_last_password_count",
        "0",
        "From how many of a user's passwords, with the one of today, the next must differ: at most 24; 0: from none.",
    ),
    key(
        "identity",
        "minimum_password_age",
        "0",
        "Days that users must keep a password which they chose, less than password_expires_days.",
    ),
    key(
        "identity",
        "password_regex",
        "[]",
        "Regular expressions, each of which a new password must match from its first character. There is no look-around: in the\n\
         place of Keystone's '(?=.*\\d)(?=.*[a-z]).{7,}$' stand three, ['.*\\d', '.*[a-z]', '.{7,}$'].",
    ),
    key(
        "identity",
        "password_regex_description",
        "\"\"",
        "The same in words, for those whose password does not match.",
    ),
    key(
        "identity",
        "change_password_upon_first_use",
        "false",
        "Whether a password that an administrator has set must be changed before it lets in. Service users are exempted by the\n\
         option ignore_change_password_upon_first_use.",
    ),
    key(
        "identity",
        "disable_user_account_days_inactive",
        "0",
        "Days without any login after which an account counts as disabled; 0: never.",
    ),
    key("audit", "keep_days", "400", "How long audit events are kept; 0 is for ever."),
    key("node", "name", "", "Name of this machine in the cloud; without it, its host name."),
    key(
        "hypervisor",
        "driver",
        "\"qemu\"",
        "What runs guests: \"qemu\", or \"sim\" to try the APIs without any guest.",
    ),
    key(
        "hypervisor",
        "accelerator",
        "\"auto\"",
        "\"kvm\", \"tcg\" (software, slow), or \"auto\": KVM if a trial guest really runs on it.",
    ),
    key("compute", "cpu_allocation_ratio", "4.0", "How many virtual CPUs are given out for each real one."),
    key(
        "network",
        "public_cidr",
        "\"172.24.4.0/24\"",
        "Addresses of the network `public`: gateways and floating IPs. Its first address is this host's.",
    ),
    key(
        "objectstore",
        "engine",
        "\"embedded\"",
        "What keeps the objects: \"embedded\", or \"radosgw\", a Ceph that clients talk to themselves. With the latter public_url is\n\
         radosgw's, and the other keys of this section mean nothing.",
    ),
    key("objectstore", "listen", "\"127.0.0.1:8444\"", "Address and port of S3."),
    key(
        "objectstore",
        "public_url",
        "\"https://127.0.0.1:8444\"",
        "Address of S3 as clients reach it; it stands in the catalog.",
    ),
    key(
        "objectstore",
        "domain",
        "",
        "Domain below which each bucket has a name of its own (s3.example.org: bucket.s3.example.org), for virtual-host style.\n\
         Path style always works.",
    ),
    key(
        "objectstore",
        "website_domain",
        "",
        "Domain below which each bucket that is a website is answered to browsers (website.example.org:\n\
         bucket.website.example.org). Neither may lie below `domain`, nor that below it. Without it, no website is served.",
    ),
    key(
        "objectstore",
        "webhooks",
        "[]",
        "Where notifications of S3 may be sent, each as a table [[objectstore.webhooks]] at the end of the file: name (topics\n\
         call it arn:aws:sns:<region>::<name>), url (https or http), and if wanted projects (ids; all without it), secret_file\n\
         (messages are signed under its first line), token_file (sent as a bearer token), ca_file (who may vouch for the\n\
         server; the system's authorities without it). Files belong to the cloud's user, and secrets nobody else may read.",
    ),
    key(
        "objectstore",
        "tls",
        "true",
        "Whether S3 is served over TLS. Without it, on a loopback address only, for a proxy on this machine; public_url says what\n\
         clients see.",
    ),
    key(
        "objectstore",
        "connections",
        "4096",
        "Client connections to S3 open at once; further ones are refused.",
    ),
    key(
        "objectstore",
        "directory",
        "",
        "Directory of the objects, on a disk of their own perhaps; without it, `objects` below state_dir.",
    ),
    key(
        "objectstore.radosgw",
        "endpoint",
        "",
        "Address of radosgw for its Admin Ops API, without a path. Without TLS on this machine only.",
    ),
    key(
        "objectstore.radosgw",
        "access_key",
        "",
        "Access key of a user of radosgw with the capability `users=*`.",
    ),
    key(
        "objectstore.radosgw",
        "secret_key_file",
        "",
        "File with its secret key, of the user of the cloud and with mode 0600.",
    ),
    key(
        "objectstore.radosgw",
        "ca",
        "",
        "PEM file with the certificate of the CA that vouches for the endpoint; needed with https://.",
    ),
    key("external", "uplink", "", "Interface through which guests reach the outside. Off unless set."),
    key("log", "level", "\"info\"", "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"."),
    key("log", "total_mib", "64", "Size of all logs of one process together; the oldest are dropped."),
];
