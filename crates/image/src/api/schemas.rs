//! What the API says of its own documents.

use axum::Json;
use hanse_web::Call;
use serde_json::{Value, json};

fn properties() -> Value {
    let text =
        |description: &str| json!({"type": ["null", "string"], "maxLength": 255, "description": description});
    let read_only = |mut schema: Value| {
        schema["readOnly"] = true.into();
        schema
    };
    let id = json!({"type": "string", "description": "An identifier for the image",
        "pattern": "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"});
    let whole = |description: &str| json!({"type": "integer", "description": description});
    let maybe_whole =
        |description: &str| read_only(json!({"type": ["null", "integer"], "description": description}));
    let fixed = |description: &str| read_only(json!({"type": "string", "description": description}));
    json!({
        "id": id,
        "name": text("Descriptive name for the image"),
        "status": read_only(json!({"type": "string", "description": "Status of the image",
            "enum": ["queued", "saving", "active", "deactivated"]})),
        "visibility": {"type": "string", "description": "Scope of image accessibility", "enum": ["private", "public"]},
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list."},
        "owner": read_only(text("Owner of the image")),
        "container_format": {"type": ["null", "string"], "description": "Format of the container", "enum": [null, "bare"]},
        "disk_format": {"type": ["null", "string"], "description": "Format of the disk", "enum": [null, "raw", "qcow2"]},
        "min_disk": whole("Amount of disk space (in GB) required to boot image."),
        "min_ram": whole("Amount of ram (in MB) required to boot image."),
        "size": maybe_whole("Size of image file in bytes"),
        "virtual_size": maybe_whole("Virtual size of image in bytes"),
        "checksum": read_only(text("md5 hash of image contents.")),
        "os_hash_algo": read_only(text("Algorithm to calculate the os_hash_value")),
        "os_hash_value": read_only(json!({"type": ["null", "string"], "maxLength": 255,
            "description": "Hexdigest of the image contents using the algorithm specified by the os_hash_algo"})),
        "created_at": fixed("Date and time of image registration"),
        "updated_at": fixed("Date and time of the last image modification"),
        "tags": {"type": "array", "description": "List of strings related to the image",
            "items": {"type": "string", "maxLength": 255}},
        "self": fixed("An image self url"),
        "file": fixed("An image file url"),
        "schema": fixed("An image schema url"),
    })
}

fn image_schema() -> Value {
    json!({
        "name": "image",
        "properties": properties(),
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

pub async fn image(_: Call) -> Json<Value> {
    Json(image_schema())
}

pub async fn images(_: Call) -> Json<Value> {
    Json(json!({
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image_schema()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }))
}

/// No import: bytes come by upload only.
pub async fn import_methods(_: Call) -> Json<Value> {
    let none: [&str; 0] = [];
    Json(
        json!({"import-methods": {"description": "Import methods available.", "type": "array", "value": none}}),
    )
}
