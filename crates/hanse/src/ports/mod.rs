//! What the services need of each other, plugged into who has it.

mod compute_images;
mod compute_networks;
mod compute_volumes;
mod image_store;

pub use compute_images::ImageService;
pub use compute_networks::NetworkService;
pub use compute_volumes::VolumeService;
pub use image_store::NodeStore;
