//! What the services need of each other, plugged into who has it.

mod compute_images;
mod compute_networks;
mod compute_volumes;
mod image_store;
mod objectstore_identity;
mod volume_servers;

pub use compute_images::ImageService;
pub use compute_networks::NetworkService;
pub use compute_volumes::VolumeService;
pub use image_store::NodeStore;
pub use objectstore_identity::IdentityService;
pub use volume_servers::ServerService;
