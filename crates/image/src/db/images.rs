use std::collections::BTreeMap;

use hanse_core::{Cx, Error, Page, Result, Uuid};
use hanse_policy::{Grant, Scope};
use hanse_store::{Conn, FromRow, Row, Select, SortKey, Tx, in_list, query};

use crate::model::{Draft, Image, Status, Visibility, parse_format};

const COLUMNS: &str = "id, created_at, updated_at, project_id, name, status, visibility, protected, hidden, \
                       container_format, disk_format, min_disk, min_ram, size, virtual_size, checksum, hash, data_id";

impl FromRow for Image {
    fn from_row(row: &Row) -> Result<Image> {
        let format: Option<String> = row.get("disk_format")?;
        Ok(Image {
            id: row.get("id")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            project_id: row.get("project_id")?,
            status: Status::parse(&row.get::<String>("status")?)?,
            size: row.get("size")?,
            virtual_size: row.get("virtual_size")?,
            checksum: row.get("checksum")?,
            hash: row.get("hash")?,
            data_id: row.get("data_id")?,
            draft: Draft {
                name: row.get("name")?,
                visibility: Visibility::parse(&row.get::<String>("visibility")?)?,
                protected: row.get("protected")?,
                hidden: row.get("hidden")?,
                container_format: row.get("container_format")?,
                disk_format: format.map(|format| parse_format(&format)).transpose()?,
                min_disk: row.get("min_disk")?,
                min_ram: row.get("min_ram")?,
                ..Draft::default()
            },
        })
    }
}

/// The images that one may see: those of one's project and the public ones.
pub fn visible(scope: &Scope) -> Select {
    let select = Select::from("images", COLUMNS);
    match scope {
        Scope::All => select,
        Scope::Project(id) => select.and_with("visibility = 'public' OR project_id = ?", [id]),
        Scope::Domain(_) | Scope::User(_) => select.eq("visibility", "public"),
    }
}

pub async fn show(conn: &mut Conn, scope: &Scope, id: Uuid) -> Result<Option<Image>> {
    let mut image: Vec<Image> = visible(scope).eq("id", id).optional(conn).await?.into_iter().collect();
    complete(conn, &mut image).await?;
    Ok(image.pop())
}

pub async fn list(
    conn: &mut Conn,
    select: Select,
    keys: &[SortKey],
    page: &Page,
) -> Result<(Vec<Image>, bool)> {
    let (mut images, more) = select.sorted(conn, keys, page).await?;
    complete(conn, &mut images).await?;
    Ok((images, more))
}

/// Adds tags and properties, with one query each.
async fn complete(conn: &mut Conn, images: &mut [Image]) -> Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let ids = in_list("image_id", 1, images.len());
    let mut tags = query(format!("SELECT image_id, tag FROM image_tags WHERE {ids}"));
    let mut properties = query(format!("SELECT image_id, name, value FROM image_properties WHERE {ids}"));
    for image in images.iter() {
        tags = tags.bind(image.id);
        properties = properties.bind(image.id);
    }
    let mut by_id: BTreeMap<Uuid, &mut Draft> =
        images.iter_mut().map(|image| (image.id, &mut image.draft)).collect();
    for (id, tag) in tags.all::<(Uuid, String)>(conn).await? {
        if let Some(draft) = by_id.get_mut(&id) {
            draft.tags.insert(tag);
        }
    }
    for (id, name, value) in properties.all::<(Uuid, String, String)>(conn).await? {
        if let Some(draft) = by_id.get_mut(&id) {
            draft.properties.insert(name, value);
        }
    }
    Ok(())
}

pub async fn count(conn: &mut Conn, project_id: &str) -> Result<u32> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM images WHERE project_id = $1";
    let (count,): (u32,) = query(sql).bind(project_id).one(conn).await?;
    Ok(count)
}

pub async fn insert(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, project_id: &str, draft: &Draft) -> Result<()> {
    query(
        "INSERT INTO images (id, created_at, updated_at, project_id, status, status_since, visibility, protected, hidden,
                             min_disk, min_ram)
         VALUES ($1, $2, $2, $3, 'queued', $2, 'private', 0, 0, 0, 0)",
    )
    .bind(grant.target())
    .bind(cx.now())
    .bind(project_id)
    .execute_unique(tx, &format!("Image ID {} already exists!", grant.target()))
    .await?;
    update(tx, cx, grant, draft).await
}

/// Writes everything that a client may say.
pub async fn update(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, draft: &Draft) -> Result<()> {
    let changed = query(
        "UPDATE images SET updated_at = $2, name = $3, visibility = $4, protected = $5, hidden = $6,
                           container_format = $7, disk_format = $8, min_disk = $9, min_ram = $10
         WHERE id = $1",
    )
    .bind(grant.target())
    .bind(cx.now())
    .bind(draft.name.clone())
    .bind(draft.visibility.as_str())
    .bind(draft.protected)
    .bind(draft.hidden)
    .bind(draft.container_format.clone())
    .bind(draft.disk_format.map(hanse_node::documents::DiskFormat::as_str))
    .bind(draft.min_disk)
    .bind(draft.min_ram)
    .execute(tx)
    .await?;
    if changed == 0 {
        return Err(gone(grant));
    }
    for table in ["image_tags", "image_properties"] {
        query(format!("DELETE FROM {table} WHERE image_id = $1")).bind(grant.target()).execute(tx).await?;
    }
    for tag in &draft.tags {
        query("INSERT INTO image_tags (image_id, tag) VALUES ($1, $2)")
            .bind(grant.target())
            .bind(tag)
            .execute(tx)
            .await?;
    }
    for (name, value) in &draft.properties {
        query("INSERT INTO image_properties (image_id, name, value) VALUES ($1, $2, $3)")
            .bind(grant.target())
            .bind(name)
            .bind(value)
            .execute(tx)
            .await?;
    }
    Ok(())
}

/// Moves the image to another status, provided that it is in `from`.
pub async fn turn(tx: &mut Tx<'_>, cx: &Cx, grant: &Grant, from: Status, to: Status) -> Result<bool> {
    let changed = query(
        "UPDATE images SET status = $3, status_since = $4, updated_at = $4 WHERE id = $1 AND status = $2",
    )
    .bind(grant.target())
    .bind(from.as_str())
    .bind(to.as_str())
    .bind(cx.now())
    .execute(tx)
    .await?;
    Ok(changed > 0)
}

pub async fn delete(tx: &mut Tx<'_>, grant: &Grant) -> Result<()> {
    let gone_already = query("DELETE FROM images WHERE id = $1").bind(grant.target()).execute(tx).await? == 0;
    if gone_already { Err(gone(grant)) } else { Ok(()) }
}

fn gone(grant: &Grant) -> Error {
    Error::new(hanse_core::Kind::NotFound, format!("No image found with ID {}", grant.target()))
}
