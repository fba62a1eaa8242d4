//! Lists in an order that the client chose.

use hanse_core::{Direction, Error, Page, Result};

use crate::db::Conn;
use crate::query::FromRow;
use crate::select::Select;

/// One key of an order. The expression is ours, never a client's, and never NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    pub expression: &'static str,
    pub direction: Direction,
}

impl SortKey {
    pub const fn new(expression: &'static str, direction: Direction) -> SortKey {
        SortKey { expression, direction }
    }

    fn operator(self) -> &'static str {
        match self.direction {
            Direction::Ascending => ">",
            Direction::Descending => "<",
        }
    }

    fn order(self) -> String {
        match self.direction {
            Direction::Ascending => self.expression.to_owned(),
            Direction::Descending => format!("{} DESC", self.expression),
        }
    }
}

impl Select {
    /// One page in the order of `keys`, made total by the id, and whether more follows. `page.direction` is not used.
    ///
    /// # Errors
    /// 400 if the marker names nothing in this list.
    pub async fn sorted<T: FromRow>(
        mut self,
        conn: &mut Conn,
        keys: &[SortKey],
        page: &Page,
    ) -> Result<(Vec<T>, bool)> {
        let mut keys = keys.to_vec();
        if keys.iter().all(|key| key.expression != "id") {
            let direction = keys.last().map_or(Direction::Descending, |key| key.direction);
            keys.push(SortKey::new("id", direction));
        }
        if let Some(marker) = &page.marker {
            let known: Option<(i64,)> = self.created_at(marker).optional(conn).await?;
            known.ok_or_else(|| Error::bad_request(format!("marker [{marker}] not found")))?;
            self.values.push(marker.into());
            let of_marker = |key: &SortKey| {
                format!("(SELECT {} FROM {} WHERE id = ${})", key.expression, self.table, self.values.len())
            };
            // (a, b) behind (x, y) is: a behind x, or a = x and b behind y.
            let behind: Vec<String> = keys
                .iter()
                .enumerate()
                .map(|(place, key)| {
                    let mut parts: Vec<String> = keys[..place]
                        .iter()
                        .map(|same| format!("{} = {}", same.expression, of_marker(same)))
                        .collect();
                    parts.push(format!("{} {} {}", key.expression, key.operator(), of_marker(key)));
                    format!("({})", parts.join(" AND "))
                })
                .collect();
            self.conditions.push(format!("({})", behind.join(" OR ")));
        }
        let order: Vec<String> = keys.iter().map(|key| key.order()).collect();
        let limit = page.limit as usize;
        let tail = format!(" ORDER BY {} LIMIT {}", order.join(", "), limit + 1);
        let mut rows: Vec<T> = self.finish(&tail).all(conn).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((rows, more))
    }
}
