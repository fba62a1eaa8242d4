//! What the operator may set.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of networks that do not ask for less. Bytes, at least 576.
    pub mtu: u16,
    pub availability_zone: String,
    /// Where clients reach the cloud, without a slash at its end: `https://cloud.example:8443`. For links.
    pub public_url: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mtu: 1500,
            availability_zone: "nova".to_owned(),
            public_url: "https://localhost:8443".to_owned(),
        }
    }
}
