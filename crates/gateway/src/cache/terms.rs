//! Whether a request's answer may come from the cache, and how old it may be.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, Method};

use crate::config::{CacheConfig, RouteCache};
use crate::surface::{Root, Surface};

/// A caller's wish: `on`, `off`, `refresh`, or a duration; in answers, what came of it.
pub(crate) const X_CACHE: &str = "x-bailian-cache";

/// On what terms a request's answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// How long it is kept.
    pub(crate) ttl: Duration,
    /// How old an answer may be that is kept already.
    pub(crate) max_age: Option<Duration>,
    /// Whether it is asked for anew in any case.
    pub(crate) refresh: bool,
}

impl Terms {
    /// `None`: the request has nothing to do with the cache.
    pub(crate) fn of(
        surface: &Surface,
        method: &Method,
        headers: &HeaderMap,
        route: Option<RouteCache>,
        config: &CacheConfig,
    ) -> Option<Self> {
        if *method != Method::POST || !can_be_kept(surface) || forbids(headers) {
            return None;
        }
        let by_route = match route {
            None => None,
            Some(RouteCache::Off) => return None,
            Some(RouteCache::On) => Some(config.ttl),
            Some(RouteCache::For(ttl)) => Some(ttl),
        };
        let ttl = by_route.unwrap_or(config.ttl);
        let terms = Self {
            ttl,
            max_age: None,
            refresh: false,
        };
        match Wish::of(headers) {
            Wish::None => by_route.map(|_| terms),
            Wish::Off => None,
            Wish::On => Some(terms),
            Wish::Refresh => Some(Self {
                refresh: true,
                ..terms
            }),
            Wish::For(wished) => Some(Self {
                ttl: wished.min(ttl.max(config.ttl)),
                max_age: Some(wished),
                ..terms
            }),
        }
    }

    /// Whether an answer of that age will do.
    pub(crate) fn accept(&self, age: Duration) -> bool {
        self.max_age.is_none_or(|most| age <= most)
    }
}

/// Calls whose answer depends on nothing but the request. Applications and responses remember what
/// was said before; of other services nobody has said that an answer can be used twice.
fn can_be_kept(surface: &Surface) -> bool {
    match surface {
        Surface::Chat(_) | Surface::NativeMultimodal | Surface::Embeddings(_) => true,
        Surface::Other { model: Some(_), .. } | Surface::Responses => false,
        Surface::Other { root, path, .. } => match root {
            Root::OpenAi => &**path == "/completions",
            Root::Rerank => true,
            Root::Native => {
                path.starts_with("/services/embeddings/") || path.starts_with("/services/rerank/")
            }
            Root::Anthropic => false,
        },
    }
}

/// Whether `Cache-Control` says that no cache shall have a part in this, in a request or an answer.
fn says(headers: &HeaderMap, words: &[&str]) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|word| {
            words
                .iter()
                .any(|other| word.trim().eq_ignore_ascii_case(other))
        })
}

fn forbids(request: &HeaderMap) -> bool {
    says(request, &["no-cache", "no-store"])
}

/// Whether upstream forbids to keep its answer.
pub(crate) fn forbids_keeping(answer: &HeaderMap) -> bool {
    says(answer, &["no-store"])
}

#[derive(Debug, PartialEq, Eq)]
enum Wish {
    None,
    Off,
    On,
    Refresh,
    For(Duration),
}

impl Wish {
    /// What cannot be read is no wish for an answer that was made before.
    fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(X_CACHE).iter();
        let (line, more) = (lines.next(), lines.next());
        let Some(line) = line else {
            return Self::None;
        };
        let text = line.to_str().unwrap_or_default().trim();
        match (text, more) {
            (_, Some(_)) => Self::Off,
            ("on", None) => Self::On,
            ("refresh", None) => Self::Refresh,
            (text, None) => match humantime::parse_duration(text) {
                Ok(wished) if !wished.is_zero() => Self::For(wished),
                _ => Self::Off,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use bailian_wire::Dialect;
    use http::{HeaderName, HeaderValue};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        lines.collect()
    }

    fn terms(lines: &[(&'static str, &'static str)], route: Option<RouteCache>) -> Option<Terms> {
        let surface = Surface::Chat(Dialect::OpenAi);
        let config = CacheConfig::default();
        Terms::of(&surface, &Method::POST, &headers(lines), route, &config)
    }

    fn plain(ttl: Duration) -> Terms {
        Terms {
            ttl,
            max_age: None,
            refresh: false,
        }
    }

    #[test]
    fn nothing_is_kept_unless_a_route_or_the_caller_says_so() {
        assert_eq!(terms(&[], None), None);
        assert_eq!(terms(&[], Some(RouteCache::On)), Some(plain(HOUR)));
        assert_eq!(
            terms(&[], Some(RouteCache::For(MINUTE))),
            Some(plain(MINUTE))
        );
        assert_eq!(terms(&[(X_CACHE, "on")], None), Some(plain(HOUR)));
        let route = Some(RouteCache::For(MINUTE));
        assert_eq!(terms(&[(X_CACHE, "on")], route), Some(plain(MINUTE)));
    }

    #[test]
    fn a_route_that_says_no_is_stronger_than_a_caller() {
        for wish in ["on", "refresh", "5m"] {
            assert_eq!(terms(&[(X_CACHE, wish)], Some(RouteCache::Off)), None);
        }
    }

    #[test]
    fn a_caller_can_keep_out_of_it() {
        for line in [
            (X_CACHE, "off"),
            (X_CACHE, "0s"),
            (X_CACHE, "maybe"),
            (X_CACHE, ""),
            ("cache-control", "no-store"),
            ("cache-control", "max-age=0, No-Cache"),
        ] {
            assert_eq!(terms(&[line], Some(RouteCache::On)), None, "{line:?}");
            assert_eq!(terms(&[line, (X_CACHE, "on")], None), None, "{line:?}");
        }
    }

    #[test]
    fn a_duration_bounds_age_and_keeping_but_never_beyond_what_is_configured() {
        let short = terms(&[(X_CACHE, "5m")], None).unwrap();
        assert_eq!((short.ttl, short.max_age), (5 * MINUTE, Some(5 * MINUTE)));
        assert!(short.accept(5 * MINUTE) && !short.accept(6 * MINUTE));
        let long = terms(&[(X_CACHE, "5h")], Some(RouteCache::For(MINUTE))).unwrap();
        assert_eq!((long.ttl, long.max_age), (HOUR, Some(5 * HOUR)));
        assert!(terms(&[(X_CACHE, "refresh")], None).unwrap().refresh);
    }

    #[test]
    fn calls_that_depend_on_what_was_said_before_are_never_kept() {
        let app = Surface::Other {
            root: Root::Native,
            path: "/apps/1/completion".into(),
            model: Some("app-1".into()),
        };
        let task = Surface::other(Root::Native, "/services/aigc/text2image/image-synthesis");
        let rerank = Surface::other(Root::Rerank, "/reranks");
        let vectors = Surface::other(Root::Native, "/services/embeddings/text-embedding/t");
        let on = headers(&[(X_CACHE, "on")]);
        let config = CacheConfig::default();
        let of = |surface: &Surface, method| Terms::of(surface, &method, &on, None, &config);
        for surface in [&app, &task, &Surface::Responses] {
            assert_eq!(of(surface, Method::POST), None, "{surface:?}");
        }
        for surface in [&rerank, &vectors, &Surface::Embeddings(Dialect::OpenAi)] {
            assert!(of(surface, Method::POST).is_some(), "{surface:?}");
            assert_eq!(of(surface, Method::GET), None);
        }
    }
}
