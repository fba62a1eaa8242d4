CREATE TABLE networks (
    id                    TEXT PRIMARY KEY,
    project_id            TEXT NOT NULL,
    name                  TEXT NOT NULL,
    description           TEXT NOT NULL,
    admin_state_up        BIGINT NOT NULL,
    shared                BIGINT NOT NULL,
    external              BIGINT NOT NULL,
    mtu                   BIGINT NOT NULL,
    port_security_enabled BIGINT NOT NULL,
    status                TEXT NOT NULL,
    revision              BIGINT NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL
);
CREATE INDEX networks_page ON networks (project_id, created_at, id);

CREATE TABLE subnets (
    id               TEXT PRIMARY KEY,
    network_id       TEXT NOT NULL REFERENCES networks (id),
    project_id       TEXT NOT NULL,
    name             TEXT NOT NULL,
    description      TEXT NOT NULL,
    ip_version       BIGINT NOT NULL,
    cidr             TEXT NOT NULL,
    gateway_ip       TEXT,
    enable_dhcp      BIGINT NOT NULL,
    allocation_pools TEXT NOT NULL,
    dns_nameservers  TEXT NOT NULL,
    host_routes      TEXT NOT NULL,
    revision         BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL
);
CREATE INDEX subnets_page ON subnets (project_id, created_at, id);
CREATE INDEX subnets_network ON subnets (network_id);

CREATE TABLE ports (
    id                    TEXT PRIMARY KEY,
    network_id            TEXT NOT NULL REFERENCES networks (id),
    project_id            TEXT NOT NULL,
    name                  TEXT NOT NULL,
    description           TEXT NOT NULL,
    admin_state_up        BIGINT NOT NULL,
    mac_address           TEXT NOT NULL,
    device_id             TEXT NOT NULL,
    device_owner          TEXT NOT NULL,
    port_security_enabled BIGINT NOT NULL,
    allowed_address_pairs TEXT NOT NULL,
    host                  TEXT NOT NULL,
    guest_id              TEXT,
    hostname              TEXT NOT NULL,
    vnic_type             TEXT NOT NULL,
    binding_profile       TEXT NOT NULL,
    made_for_device       BIGINT NOT NULL,
    status                TEXT NOT NULL,
    revision              BIGINT NOT NULL,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL
);
CREATE UNIQUE INDEX ports_mac ON ports (network_id, mac_address);
CREATE INDEX ports_page ON ports (project_id, created_at, id);
CREATE INDEX ports_device ON ports (device_id);

-- `number` is the address as an integer: what free addresses are looked for by.
CREATE TABLE port_addresses (
    subnet_id TEXT NOT NULL REFERENCES subnets (id),
    number    BIGINT NOT NULL,
    address   TEXT NOT NULL,
    port_id   TEXT NOT NULL REFERENCES ports (id) ON DELETE CASCADE,
    position  BIGINT NOT NULL,
    PRIMARY KEY (subnet_id, number)
);
CREATE INDEX port_addresses_port ON port_addresses (port_id);

CREATE TABLE routers (
    id                  TEXT PRIMARY KEY,
    project_id          TEXT NOT NULL,
    name                TEXT NOT NULL,
    description         TEXT NOT NULL,
    admin_state_up      BIGINT NOT NULL,
    external_network_id TEXT REFERENCES networks (id),
    gateway_port_id     TEXT REFERENCES ports (id),
    enable_snat         BIGINT NOT NULL,
    routes              TEXT NOT NULL,
    status              TEXT NOT NULL,
    revision            BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL
);
CREATE INDEX routers_page ON routers (project_id, created_at, id);

CREATE TABLE floating_ips (
    id                  TEXT PRIMARY KEY,
    project_id          TEXT NOT NULL,
    description         TEXT NOT NULL,
    floating_network_id TEXT NOT NULL REFERENCES networks (id),
    floating_port_id    TEXT NOT NULL REFERENCES ports (id),
    floating_ip_address TEXT NOT NULL,
    port_id             TEXT REFERENCES ports (id),
    fixed_ip_address    TEXT,
    router_id           TEXT REFERENCES routers (id),
    status              TEXT NOT NULL,
    revision            BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL
);
CREATE INDEX floating_ips_page ON floating_ips (project_id, created_at, id);
CREATE INDEX floating_ips_router ON floating_ips (router_id);
CREATE UNIQUE INDEX floating_ips_fixed ON floating_ips (port_id, fixed_ip_address);

-- `default_of` is the project that this is the default group of.
CREATE TABLE security_groups (
    id          TEXT PRIMARY KEY,
    project_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    default_of  TEXT,
    revision    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX security_groups_page ON security_groups (project_id, created_at, id);
CREATE UNIQUE INDEX security_groups_default ON security_groups (default_of);

-- `meaning` is what the rule matches, in one spelling: equal rules of a group are refused by it.
CREATE TABLE security_group_rules (
    id                TEXT PRIMARY KEY,
    security_group_id TEXT NOT NULL REFERENCES security_groups (id) ON DELETE CASCADE,
    project_id        TEXT NOT NULL,
    description       TEXT NOT NULL,
    direction         TEXT NOT NULL,
    ethertype         TEXT NOT NULL,
    protocol          TEXT,
    port_range_min    BIGINT,
    port_range_max    BIGINT,
    remote_ip_prefix  TEXT,
    remote_group_id   TEXT REFERENCES security_groups (id) ON DELETE CASCADE,
    meaning           TEXT NOT NULL,
    created_at        BIGINT NOT NULL
);
CREATE INDEX security_group_rules_page ON security_group_rules (project_id, created_at, id);
CREATE INDEX security_group_rules_remote ON security_group_rules (remote_group_id);
CREATE UNIQUE INDEX security_group_rules_meaning ON security_group_rules (security_group_id, meaning);

CREATE TABLE port_security_groups (
    port_id           TEXT NOT NULL REFERENCES ports (id) ON DELETE CASCADE,
    security_group_id TEXT NOT NULL REFERENCES security_groups (id),
    PRIMARY KEY (port_id, security_group_id)
);
CREATE INDEX port_security_groups_group ON port_security_groups (security_group_id);

CREATE TABLE network_quotas (
    project_id TEXT NOT NULL,
    resource   TEXT NOT NULL,
    value      BIGINT NOT NULL,
    PRIMARY KEY (project_id, resource)
);

-- Nodes that every object has been put on once.
CREATE TABLE network_nodes (
    name TEXT PRIMARY KEY
);
