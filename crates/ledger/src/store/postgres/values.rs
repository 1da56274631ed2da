//! Values as PostgreSQL takes and gives them: ids and money as text, digit for digit.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::store::{Kind, Value};

pub(super) fn parameters<'v>(values: &'v [Value<'_>]) -> Vec<&'v (dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Id(id) => id.to_string().to_sql(ty, out),
            Self::Text(text) => text.as_ref().to_sql(ty, out),
            Self::Int(number) => number.to_sql(ty, out),
            Self::Bool(truth) => truth.to_sql(ty, out),
            Self::Money(money) => money.to_string().to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        // Every parameter of our statements is cast to one of these.
        matches!(*ty, Type::TEXT | Type::INT8 | Type::BOOL)
    }

    to_sql_checked!();
}

/// A column's value; `None` when what is stored is not of its kind.
pub(super) fn read_value(
    row: &Row,
    index: usize,
    kind: Kind,
) -> Result<Option<Value<'_>>, tokio_postgres::Error> {
    Ok(match kind {
        Kind::Int => Some(
            row.try_get::<_, Option<i64>>(index)?
                .map_or(Value::Null, Value::Int),
        ),
        Kind::Bool => Some(
            row.try_get::<_, Option<bool>>(index)?
                .map_or(Value::Null, Value::Bool),
        ),
        Kind::Text | Kind::Id | Kind::Money => match row.try_get::<_, Option<&str>>(index)? {
            None => Some(Value::Null),
            Some(text) => match kind {
                Kind::Id => text.parse().ok().map(Value::Id),
                Kind::Money => text.parse().ok().map(Value::Money),
                _ => Some(Value::Text(text.into())),
            },
        },
    })
}
