//! Creating servers: check everything, then rows, quota, placement and work in one transaction.

use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Result, Secret, Uuid};
use hanse_node::documents::{ImageRef, Reboots};
use hanse_policy::{Caller, Grant, Target};
use hanse_store::Tx;

use super::KIND;
use crate::Deps;
use crate::db;
use crate::db::allocations::Used;
use crate::model::{Flavor, Server, State, Wanted, ZONE};
use crate::placement;
use crate::ports::{BootImage, NicRequest, PlannedNic, Quota, ResolvedNic};
use crate::verbs;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// How many servers one call may create.
pub(crate) const MAX_COUNT: u32 = 1000;

/// Why a server without a node is in error; clients look for Nova's words.
pub(crate) const NO_HOST: &str = "No valid host was found. There are not enough hosts available.";

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct NewServer {
    pub name: String,
    pub image_id: Uuid,
    pub flavor_id: String,
    pub nics: Vec<NicRequest>,
    pub security_groups: Vec<String>,
    pub key_name: Option<String>,
    pub user_data: Option<Secret<Vec<u8>>>,
    pub metadata: BTreeMap<String, String>,
    pub config_drive: bool,
    pub zone: Option<String>,
    pub disk_config: String,
    pub access_ipv4: String,
    pub access_ipv6: String,
    pub min_count: u32,
    pub max_count: u32,
}

/// Creates between `min_count` and `max_count` servers, as many as the quota has room for.
pub(crate) async fn create(deps: &Deps, cx: &Cx, caller: &Caller, new: &NewServer) -> Result<Vec<Server>> {
    let project = caller
        .project_id()
        .ok_or_else(|| Error::forbidden("You must work in a project to create a server."))?;
    // Before anything is looked up for somebody who may not.
    caller.authorize(cx, verbs::CREATE, Target::new("").in_project(project))?;
    if new.zone.as_deref().is_some_and(|zone| zone != ZONE) {
        return Err(Error::bad_request("The requested availability zone is not available"));
    }
    let (flavor, public_key) = lookups(deps, caller, new).await?;
    let (image, root_bytes) = boot_image(deps, cx, project, new.image_id, &flavor).await?;
    let nics = deps.networks.validate(cx, caller, &new.nics, &new.security_groups).await?;
    let unique = nics.iter().any(|nic| nic.port_id.is_some() || nic.fixed_ip.is_some());
    if unique && new.max_count > 1 {
        return Err(Error::bad_request("Invalid fixed IP or port: max_count must be 1 if one is specified."));
    }
    let user_data = match &new.user_data {
        Some(data) => Some(deps.sealer.seal(cx, data.expose())?),
        None => None,
    };
    let reservation_id = format!("r-{}", &cx.hex_id()[..8]);
    let server = |index: u32| Server {
        id: cx.uuid(),
        created_at: cx.now(),
        updated_at: cx.now(),
        project_id: project.to_owned(),
        user_id: caller.user_id.clone(),
        name: numbered(&new.name, index, new.max_count),
        hostname: String::new(),
        state: State::Building,
        state_since: cx.now(),
        state_reason: None,
        wanted: Wanted::Running,
        reboots: Reboots::default(),
        launched_at: None,
        node: None,
        flavor_id: flavor.id.clone(),
        flavor_name: flavor.name.clone(),
        vcpus: flavor.vcpus,
        memory_mib: flavor.ram,
        root_bytes,
        image_id: new.image_id,
        image: image.clone(),
        key_name: new.key_name.clone(),
        public_key: public_key.clone(),
        user_data: user_data.clone(),
        metadata: new.metadata.clone(),
        nics: planned(cx, &nics),
        config_drive: new.config_drive,
        disk_config: new.disk_config.clone(),
        access_ipv4: new.access_ipv4.clone(),
        access_ipv6: new.access_ipv6.clone(),
        reservation_id: reservation_id.clone(),
        launch_index: index,
    };
    let servers: Vec<(Server, Grant)> = (0..new.max_count)
        .map(|index| {
            let mut server = server(index);
            server.hostname = hostname(&server.name, server.id);
            let target = Target::new(server.id).in_project(project);
            caller.authorize(cx, verbs::CREATE, target).map(|grant| (server, grant))
        })
        .collect::<Result<_>>()?;
    let limit = deps.limits.show(cx, project).await?;
    let (servers, limit, first) = (&servers, &limit, &servers[0].1);
    deps.db
        .write(cx, first, |tx| {
            Box::pin(async move {
                let used = db::servers::used(tx, project).await?;
                let count = within(limit, &used, &servers[0].0, new)?;
                let mut created = Vec::new();
                for (server, grant) in servers.iter().take(count as usize) {
                    created.push(insert(deps, tx, cx, grant, server.clone()).await?);
                }
                Ok(created)
            })
        })
        .await
}

/// Finds the flavor and the key.
async fn lookups(deps: &Deps, caller: &Caller, new: &NewServer) -> Result<(Flavor, Option<String>)> {
    let mut conn = deps.db.read().await?;
    let flavor = db::flavors::show(&mut conn, &new.flavor_id)
        .await?
        .ok_or_else(|| Error::bad_request(format!("Flavor {} could not be found.", new.flavor_id)))?;
    let Some(name) = &new.key_name else { return Ok((flavor, None)) };
    let key = db::keypairs::show(&mut conn, &caller.user_id, name).await?.ok_or_else(|| {
        Error::bad_request(format!("Invalid key_name provided: there is no key pair '{name}'."))
    })?;
    Ok((flavor, Some(key.public_key)))
}

/// What to boot from, and how large the root disk becomes.
async fn boot_image(
    deps: &Deps,
    cx: &Cx,
    project: &str,
    id: Uuid,
    flavor: &Flavor,
) -> Result<(ImageRef, u64)> {
    let image: Option<BootImage> = deps.images.show_many(cx, project, &[id]).await?.pop();
    let image = image.ok_or_else(|| Error::bad_request("Can not find requested image"))?;
    let (true, Some(data)) = (image.active, image.data) else {
        return Err(Error::bad_request(format!("Image {id} is not active.")));
    };
    if flavor.ram < u64::from(image.min_ram) {
        return Err(Error::bad_request("Flavor's memory is too small for requested image."));
    }
    if flavor.disk == 0 {
        return Ok((data, image.virtual_size.max(1).div_ceil(MIB) * MIB));
    }
    let disk = u64::from(flavor.disk) * GIB;
    if flavor.disk < image.min_disk || disk < image.virtual_size {
        return Err(Error::bad_request(format!(
            "Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {} bytes.",
            image.virtual_size.max(u64::from(image.min_disk) * GIB)
        )));
    }
    Ok((data, disk))
}

fn planned(cx: &Cx, nics: &[ResolvedNic]) -> Vec<PlannedNic> {
    let plan = |nic: &ResolvedNic| PlannedNic {
        port_id: nic.port_id.unwrap_or_else(|| cx.uuid()),
        owned: nic.port_id.is_none(),
        network_id: nic.network_id,
        fixed_ip: nic.fixed_ip,
        security_groups: nic.security_groups.clone(),
    };
    nics.iter().map(plan).collect()
}

/// How many of the servers the quota has room for.
fn within(limit: &Quota, used: &Quota, one: &Server, new: &NewServer) -> Result<u32> {
    let times = |room: u64, each: u64| u32::try_from(room / each.max(1)).unwrap_or(u32::MAX);
    let resources = [
        ("instances", u64::from(limit.instances), u64::from(used.instances), 1),
        ("cores", u64::from(limit.cores), u64::from(used.cores), u64::from(one.vcpus)),
        ("ram", limit.ram, used.ram, one.memory_mib),
    ];
    let mut room = new.max_count;
    for (name, limit, used, each) in resources {
        let fits = times(limit.saturating_sub(used), each);
        if fits < new.min_count {
            return Err(Error::over_quota(format!(
                "Quota exceeded for {name}: Requested {}, but already used {used} of {limit} {name}",
                each * u64::from(new.min_count)
            )));
        }
        room = room.min(fits);
    }
    Ok(room)
}

async fn insert(deps: &Deps, tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, mut server: Server) -> Result<Server> {
    let need = Used {
        servers: 1,
        vcpus: u64::from(server.vcpus),
        memory_mib: server.memory_mib,
        disk_gib: server.root_bytes.div_ceil(GIB),
    };
    server.node = placement::choose(tx, &deps.config, &need, cx.now()).await?;
    match &server.node {
        Some(node) => {
            db::allocations::insert(tx, server.id, node, &need).await?;
            hanse_work::wake(tx, cx, KIND, grant.target()).await?;
        }
        None => {
            server.state = State::Error;
            server.state_reason = Some(NO_HOST.to_owned());
        }
    }
    db::servers::insert(tx, grant, &server).await?;
    db::events::insert(tx, cx, grant, "create", &server.user_id, &server.project_id).await?;
    Ok(server)
}

/// Nova's names for several servers: `web-1`, `web-2`, …
fn numbered(name: &str, index: u32, count: u32) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}

/// The name, as far as a host may be called so.
fn hostname(name: &str, id: Uuid) -> String {
    let fit = |c: char| match c {
        ' ' | '_' | '.' => Some('-'),
        c if c.is_ascii_alphanumeric() || c == '-' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    let fitting: String = name.chars().filter_map(fit).take(63).collect();
    let fitting = fitting.trim_matches('-');
    if fitting.is_empty() { format!("server-{id}") } else { fitting.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_are_made_of_names() {
        for (name, host) in [
            ("Web 1.example_com", "web-1-example-com"),
            ("-a-", "a"),
            ("grüße", "gre"),
            ("日本", "server-00000000-0000-0000-0000-000000000000"),
        ] {
            assert_eq!(hostname(name, Uuid::nil()), host);
        }
        assert_eq!(hostname(&"x".repeat(200), Uuid::nil()).len(), 63);
        assert_eq!((numbered("a", 0, 1), numbered("a", 1, 2)), ("a".to_owned(), "a-2".to_owned()));
    }
}
