//! The script's arguments and answer.

use std::time::Duration;

use redis::{RedisResult, Script, ScriptInvocation, aio::ConnectionLike};

use crate::share::{Allotment, Allotments, Belief, Renewal, Terms};

/// Lua counts in doubles: larger figures would not be exact, and no limit is so large.
const LARGEST: u64 = 1 << 52;

/// Figures for each limit in the answer, and before them.
const FIGURES: usize = 5;
const HEAD: usize = 2;

/// The script that keeps a lane's ledger inside Redis.
pub struct RenewScript(Script);

impl Default for RenewScript {
    fn default() -> Self {
        Self(Script::new(include_str!("renew.lua")))
    }
}

impl std::fmt::Debug for RenewScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenewScript").finish_non_exhaustive()
    }
}

/// Whose lease it is, of which lane.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Where the lane's ledger stands in Redis.
    pub key: &'a str,
    /// The replica.
    pub id: &'a str,
    /// When leases end.
    pub terms: &'a Terms,
    /// The time; without one the server's clock counts.
    pub now: Option<Duration>,
}

impl RenewScript {
    /// As [`Ledger::renew`](crate::share::Ledger::renew).
    ///
    /// # Errors
    /// Those of the connection and of the server.
    pub async fn renew(
        &self,
        connection: &mut impl ConnectionLike,
        member: &Member<'_>,
        renewal: &Renewal,
    ) -> RedisResult<Option<Allotments>> {
        let call = self.invocation(member, renewal, false);
        let figures: Vec<i64> = call.invoke_async(connection).await?;
        Ok(read(&figures, renewal))
    }

    /// As [`Ledger::leave`](crate::share::Ledger::leave).
    ///
    /// # Errors
    /// Those of the connection and of the server.
    pub async fn leave(
        &self,
        connection: &mut impl ConnectionLike,
        member: &Member<'_>,
        renewal: &Renewal,
    ) -> RedisResult<()> {
        let call = self.invocation(member, renewal, true);
        call.invoke_async(connection).await
    }

    fn invocation(
        &self,
        member: &Member<'_>,
        renewal: &Renewal,
        leaves: bool,
    ) -> ScriptInvocation<'_> {
        let now = member.now.map(|now| millis(now).to_string());
        let mut invocation = self.0.key(member.key);
        invocation
            .arg(member.id)
            .arg(renewal.sequence)
            .arg(renewal.weight)
            .arg(millis(member.terms.lease))
            .arg(millis(member.terms.grace))
            .arg(u8::from(leaves))
            .arg(limits(renewal))
            .arg(now.unwrap_or_default());
        invocation
    }
}

fn limits(renewal: &Renewal) -> String {
    let figure = |value: u64| value.min(LARGEST);
    let optional = |value: Option<u64>| match value {
        Some(value) => serde_json::json!(figure(value)),
        None => serde_json::json!(-1),
    };
    let reports = renewal.limits.iter().map(|report| {
        serde_json::json!([
            report.key.to_string(),
            millis(report.key.period),
            optional(report.belief.amount),
            optional(report.belief.known),
            report.belief.version,
            figure(report.kept),
            figure(report.used),
            figure(report.wanted),
            figure(report.need),
        ])
    });
    serde_json::Value::Array(reports.collect()).to_string()
}

/// `None` for an empty answer, or one that does not fit the question.
fn read(figures: &[i64], renewal: &Renewal) -> Option<Allotments> {
    let (head, rest) = figures.split_at_checked(HEAD)?;
    let unsigned = |value: i64| u64::try_from(value).ok();
    let limits = renewal
        .limits
        .iter()
        .zip(rest.chunks_exact(FIGURES))
        .map(|(report, figures)| Allotment {
            key: report.key,
            limit: unsigned(figures[0]).unwrap_or(0),
            belief: Belief {
                amount: unsigned(figures[1]),
                known: unsigned(figures[2]),
                version: unsigned(figures[3]).unwrap_or(0),
            },
            others_used: unsigned(figures[4]).unwrap_or(0),
        })
        .collect();
    Some(Allotments {
        replicas: unsigned(head[0]).unwrap_or(1),
        in_grace: head[1] > 0,
        limits,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .min(LARGEST)
}
