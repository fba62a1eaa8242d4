//! What limits hang on.

use std::collections::BTreeMap;

use hanse_core::Result;
use hanse_store::{Conn, Select};

use super::rows::select;
use crate::limits::{Limit, RegisteredLimit};

/// Whether there are limits of what is registered.
pub(crate) async fn depend(conn: &mut Conn, registered: &RegisteredLimit) -> Result<bool> {
    Select::from("limits", "id")
        .eq("service_id", &registered.service_id)
        .eq("region_id", &registered.region_id)
        .eq("resource_name", &registered.resource_name)
        .exists(conn)
        .await
}

pub(crate) async fn is_registered(conn: &mut Conn, limit: &Limit) -> Result<bool> {
    Select::from("registered_limits", "id")
        .eq("service_id", &limit.service_id)
        .eq("region_id", &limit.region_id)
        .eq("resource_name", &limit.resource_name)
        .exists(conn)
        .await
}

/// The limits of a project for these services, by resource; what is said of it stands over what is registered.
pub(crate) async fn of_project(
    conn: &mut Conn,
    services: &[String],
    project_id: &str,
) -> Result<BTreeMap<String, i64>> {
    let registered: Vec<RegisteredLimit> =
        select::<RegisteredLimit>().any("service_id", services).all(conn).await?;
    let own: Vec<Limit> =
        select::<Limit>().any("service_id", services).eq("project_id", project_id).all(conn).await?;
    let mut limits: BTreeMap<String, i64> =
        registered.into_iter().map(|each| (each.resource_name, each.default_limit)).collect();
    limits.extend(own.into_iter().map(|each| (each.resource_name, each.resource_limit)));
    Ok(limits)
}
