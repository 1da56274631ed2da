//! The script's arguments and answer.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{RedisResult, Script, ScriptInvocation};

use crate::budget::share::{PotAnswer, PotReport, PotTerms};

/// Lua counts in doubles: larger figures would not be exact.
const LARGEST: u64 = 1 << 52;

/// The script that keeps a pot inside Redis.
pub struct PotScript(Script);

/// Whose report it is, of which pot.
#[derive(Clone, Copy, Debug)]
pub struct PotMember<'a> {
    /// Where the pot stands in Redis.
    pub key: &'a str,
    /// What stands in Redis until it loses its data.
    pub mark: &'a str,
    /// What stands there for a while after the mark was found missing.
    pub fresh: &'a str,
    /// The replica.
    pub id: &'a str,
    /// When it gives up waiting.
    pub terms: &'a PotTerms,
    /// How long Redis keeps a pot that nobody asks for.
    pub keep: Duration,
    /// The time; without one the server's clock counts.
    pub now: Option<Duration>,
}

impl Default for PotScript {
    fn default() -> Self {
        Self(Script::new(include_str!("pot.lua")))
    }
}

impl std::fmt::Debug for PotScript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PotScript").finish_non_exhaustive()
    }
}

impl PotScript {
    /// As [`Pot::renew`](crate::budget::share::Pot::renew).
    ///
    /// # Errors
    /// Those of the connection and of the server.
    pub async fn renew(
        &self,
        connection: &mut impl ConnectionLike,
        member: &PotMember<'_>,
        report: &PotReport,
    ) -> RedisResult<Option<PotAnswer>> {
        let call = self.invocation(member, report, false);
        let figures: Vec<i64> = call.invoke_async(connection).await?;
        Ok(read(&figures))
    }

    /// As [`Pot::leave`](crate::budget::share::Pot::leave).
    ///
    /// # Errors
    /// Those of the connection and of the server.
    pub async fn leave(
        &self,
        connection: &mut impl ConnectionLike,
        member: &PotMember<'_>,
        report: &PotReport,
    ) -> RedisResult<()> {
        let call = self.invocation(member, report, true);
        call.invoke_async(connection).await
    }

    fn invocation(
        &self,
        member: &PotMember<'_>,
        report: &PotReport,
        leaves: bool,
    ) -> ScriptInvocation<'_> {
        let figure = |value: u64| value.min(LARGEST);
        let now = member.now.map(|now| millis(now).to_string());
        let mut invocation = self.0.key(member.key);
        invocation
            .key(member.mark)
            .key(member.fresh)
            .arg(member.id)
            .arg(report.sequence)
            .arg(figure(report.limit))
            .arg(figure(report.base))
            .arg(u8::from(report.is_told))
            .arg(figure(report.base_spent))
            .arg(figure(report.spent))
            .arg(figure(report.kept))
            .arg(figure(report.need))
            .arg(figure(report.wanted))
            .arg(millis(member.terms.grace))
            .arg(millis(member.terms.gone))
            .arg(u8::from(leaves))
            .arg(millis(member.keep))
            .arg(now.unwrap_or_default())
            .arg(figure(report.spare));
        invocation
    }
}

/// `None` for an empty answer.
fn read(figures: &[i64]) -> Option<PotAnswer> {
    let [used, held, spare, is_short, in_grace] = figures else {
        return None;
    };
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    Some(PotAnswer {
        used: unsigned(*used),
        held: unsigned(*held),
        spare_elsewhere: unsigned(*spare),
        is_short: *is_short > 0,
        in_grace: *in_grace > 0,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .min(LARGEST)
}
