//! What of the catalog goes together.

use hanse_core::Result;
use hanse_policy::Grant;
use hanse_store::{Conn, Select, Tx, query};

use super::associations::{self, Kind};
use super::rows::select;
use crate::catalog::{Endpoint, EndpointGroup, Listing, Service};

pub(crate) async fn listing(conn: &mut Conn) -> Result<Listing> {
    Ok(Listing {
        services: select::<Service>().all(conn).await?,
        endpoints: select::<Endpoint>().all(conn).await?,
        groups: select::<EndpointGroup>().all(conn).await?,
        project_endpoints: associations::all(conn, Kind::ProjectEndpoint).await?.into_iter().collect(),
        project_groups: associations::all(conn, Kind::ProjectEndpointGroup).await?.into_iter().collect(),
    })
}

pub(crate) async fn has_endpoints(conn: &mut Conn, region_id: &str) -> Result<bool> {
    Select::from("catalog_endpoints", "id").eq("region_id", region_id).exists(conn).await
}

pub(crate) async fn regions_below(conn: &mut Conn, id: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> =
        Select::from("catalog_regions", "id").eq("parent_region_id", id).all(conn).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Deletes a region that is below the one that a grant names.
pub(crate) async fn delete_region(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    query("DELETE FROM catalog_regions WHERE id = $1").bind(id).execute(tx).await?;
    Ok(())
}

/// Deletes the endpoints of the service that the grant names, and what they have to do with projects.
pub(crate) async fn delete_endpoints(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    for sql in [
        "DELETE FROM associations WHERE kind = 'project_endpoint'
           AND object IN (SELECT id FROM catalog_endpoints WHERE service_id = $1)",
        "DELETE FROM catalog_endpoints WHERE service_id = $1",
    ] {
        query(sql).bind(grant.target()).execute(tx).await?;
    }
    Ok(())
}
