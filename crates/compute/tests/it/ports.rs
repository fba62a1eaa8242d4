//! Neighbours that exist in memory, and count how they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hanse_compute::ports::{
    BootImage, Images, Networks, NicRequest, PlannedNic, Plugged, PortOwner, ResolvedNic, ServerAddress,
    ServerPort, VolumeUse, Volumes,
};
use hanse_core::{Cx, Error, Result, Uuid};
use hanse_node::documents::{DiskFormat, ImageRef, MacAddress, Nic};
use hanse_policy::Caller;
use hanse_work::Turn;

pub const IMAGE: Uuid = Uuid::from_u128(0x1111);
pub const QUEUED_IMAGE: Uuid = Uuid::from_u128(0x2222);
pub const BIG_IMAGE: Uuid = Uuid::from_u128(0x3333);
pub const NETWORK: Uuid = Uuid::from_u128(0x4444);
pub const VOLUME: Uuid = Uuid::from_u128(0x5555);

/// Three images, all of them public.
pub struct Shelf;

#[async_trait]
impl Images for Shelf {
    async fn show_many(&self, _: &Cx, _: &str, ids: &[Uuid]) -> Result<Vec<BootImage>> {
        let image = |id: &Uuid| BootImage {
            id: *id,
            data: Some(ImageRef { id: *id, format: DiskFormat::Qcow2 }),
            active: *id != QUEUED_IMAGE,
            virtual_size: if *id == BIG_IMAGE { 50 << 30 } else { 2_000_000_000 },
            min_disk: 0,
            min_ram: if *id == BIG_IMAGE { 2048 } else { 0 },
        };
        Ok(ids.iter().filter(|id| [IMAGE, QUEUED_IMAGE, BIG_IMAGE].contains(id)).map(image).collect())
    }
}

/// One network that every project reaches, with ports and volumes that tests look into.
#[derive(Default)]
pub struct Neighbours {
    pub ports: Mutex<BTreeMap<Uuid, ServerPort>>,
    pub owners: Mutex<BTreeMap<Uuid, Uuid>>,
    pub groups: Mutex<BTreeSet<String>>,
    /// Who has which.
    pub volumes: Mutex<BTreeMap<Uuid, VolumeUse>>,
    /// What the next `ensure` answers.
    pub refusal: Mutex<Option<String>>,
    pub reads: Mutex<u32>,
}

#[async_trait]
impl Networks for Neighbours {
    async fn validate(
        &self,
        _: &Cx,
        _: &Caller,
        requests: &[NicRequest],
        _: &[String],
    ) -> Result<Vec<ResolvedNic>> {
        let default = [NicRequest { network_id: Some(NETWORK), ..NicRequest::default() }];
        let requests = if requests.is_empty() { &default } else { requests };
        requests
            .iter()
            .map(|request| {
                let network_id = request.network_id.unwrap_or(NETWORK);
                if network_id != NETWORK {
                    return Err(Error::bad_request(format!("Network {network_id} could not be found.")));
                }
                Ok(ResolvedNic {
                    network_id,
                    port_id: request.port_id,
                    fixed_ip: request.fixed_ip,
                    security_groups: Vec::new(),
                })
            })
            .collect()
    }

    async fn ensure_ports(&self, _: &Turn, owner: &PortOwner, nics: &[PlannedNic]) -> Result<Plugged> {
        if let Some(reason) = self.refusal.lock().unwrap().clone() {
            return Err(Error::conflict(reason));
        }
        let (mut ports, mut owners) = (self.ports.lock().unwrap(), self.owners.lock().unwrap());
        let mut plugged = Plugged { nics: Vec::new(), network_data: "{}".to_owned() };
        for nic in nics {
            let number = u8::try_from(ports.len() + 10).unwrap();
            let port = ports.entry(nic.port_id).or_insert_with(|| ServerPort {
                port_id: nic.port_id,
                network_id: nic.network_id,
                network_name: "private".to_owned(),
                mac: MacAddress([0xfa, 0x16, 0x3e, 0, 0, number]),
                active: true,
                addresses: vec![ServerAddress {
                    address: nic.fixed_ip.unwrap_or(std::net::Ipv4Addr::new(10, 0, 0, number).into()),
                    subnet_id: Some(NETWORK),
                    floating: false,
                }],
                security_groups: vec!["default".to_owned()],
            });
            owners.insert(nic.port_id, owner.server_id);
            plugged.nics.push(Nic { port_id: nic.port_id, mac: port.mac, mtu: 1450 });
        }
        Ok(plugged)
    }

    async fn release_ports(&self, _: &Turn, _: Uuid, nics: &[PlannedNic]) -> Result<()> {
        for nic in nics {
            self.ports.lock().unwrap().remove(&nic.port_id);
            self.owners.lock().unwrap().remove(&nic.port_id);
        }
        Ok(())
    }

    async fn ports_of(&self, _: &Cx, servers: &[Uuid]) -> Result<BTreeMap<Uuid, Vec<ServerPort>>> {
        *self.reads.lock().unwrap() += 1;
        let ports = self.ports.lock().unwrap();
        let mut all: BTreeMap<Uuid, Vec<ServerPort>> = BTreeMap::new();
        for (port, server) in
            self.owners.lock().unwrap().iter().filter(|(_, server)| servers.contains(server))
        {
            all.entry(*server).or_default().push(ports[port].clone());
        }
        Ok(all)
    }

    async fn servers_at(&self, _: &Cx, _: Option<&str>, address: &str) -> Result<Vec<Uuid>> {
        let ports = self.ports.lock().unwrap();
        let has =
            |port: &Uuid| ports[port].addresses.iter().any(|one| one.address.to_string().contains(address));
        let owners = self.owners.lock().unwrap();
        Ok(owners.iter().filter(|(port, _)| has(port)).map(|(_, server)| *server).collect())
    }

    async fn set_security_group(&self, _: &Cx, _: &Caller, _: Uuid, group: &str, member: bool) -> Result<()> {
        if group != "web" {
            return Err(Error::not_found("Security group", group));
        }
        let mut groups = self.groups.lock().unwrap();
        if member {
            groups.insert(group.to_owned())
        } else {
            groups.remove(group)
        };
        Ok(())
    }
}

#[async_trait]
impl Volumes for Neighbours {
    async fn validate(&self, _: &Cx, _: &Caller, volume_id: Uuid) -> Result<()> {
        if volume_id.as_u128() & 0xff00 == 0x5500 {
            Ok(())
        } else {
            Err(Error::not_found("Volume", volume_id))
        }
    }

    async fn reserve(&self, _: &Cx, _: &Caller, wanted: &VolumeUse) -> Result<()> {
        self.promise(wanted)
    }

    async fn ensure_reserved(&self, _: &Turn, wanted: &VolumeUse) -> Result<()> {
        self.promise(wanted)
    }

    async fn ensure_attached(&self, _: &Turn, wanted: &VolumeUse) -> Result<()> {
        if let Some(reason) = self.refusal.lock().unwrap().clone() {
            return Err(Error::conflict(reason));
        }
        assert_eq!(
            self.volumes.lock().unwrap().get(&wanted.volume_id),
            Some(wanted),
            "it was reserved before"
        );
        Ok(())
    }

    async fn release(&self, _: &Cx, volume_id: Uuid, attachment_id: Uuid) -> Result<()> {
        self.volumes
            .lock()
            .unwrap()
            .retain(|id, held| *id != volume_id || held.attachment_id != attachment_id);
        Ok(())
    }
}

impl Neighbours {
    fn promise(&self, wanted: &VolumeUse) -> Result<()> {
        if let Some(reason) = self.refusal.lock().unwrap().clone() {
            return Err(Error::conflict(reason));
        }
        let mut volumes = self.volumes.lock().unwrap();
        let held = volumes.entry(wanted.volume_id).or_insert_with(|| wanted.clone());
        if held.attachment_id == wanted.attachment_id { Ok(()) } else { Err(Error::bad_request("taken")) }
    }
}

pub fn neighbours() -> Arc<Neighbours> {
    Arc::new(Neighbours::default())
}
