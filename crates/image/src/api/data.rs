use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use hanse_core::{Context, Error};
use hanse_web::{Call, Reply};
use http::{HeaderMap, StatusCode, header};
use tokio_util::io::{ReaderStream, StreamReader};

use super::images::parse_id;
use crate::Deps;
use crate::data;

/// How much of a file is in memory at once.
const CHUNK: usize = 256 * 1024;

pub async fn upload(
    State(deps): State<Deps>,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Reply<StatusCode> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind != "application/octet-stream" {
        return Err(Error::unsupported_media(format!(
            "Unsupported Content-Type {kind}; send application/octet-stream."
        ))
        .into());
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > deps.config.max_image_bytes) {
        return Err(Error::too_large("The image is larger than this cloud allows.").into());
    }
    let bytes = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    data::upload(&deps, &call.cx, &call.caller, parse_id(&id)?, Box::pin(bytes)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn download(State(deps): State<Deps>, call: Call, Path(id): Path<String>) -> Reply<Response> {
    let (image, data) = data::download(&deps, &call.caller, parse_id(&id)?).await?;
    let Some((length, bytes)) = data else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut response = http::Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, length);
    // The digest that RFC 1864 wants is the one that we keep in hexadecimal, which is what Glance sends.
    if let Some(checksum) = &image.checksum {
        response = response.header("content-md5", checksum);
    }
    let body = Body::from_stream(ReaderStream::with_capacity(bytes, CHUNK));
    Ok(response.body(body).context("an answer with image data")?)
}
