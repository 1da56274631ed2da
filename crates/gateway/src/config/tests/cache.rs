//! `[cache]`, and what routes say of it.

use super::*;

#[test]
fn the_cache_is_off_unless_it_is_configured() {
    assert!(parse(GOOD).unwrap().cache.is_none());
    let cache = parse(&format!("{GOOD}\n[cache]")).unwrap().cache.unwrap();
    assert_eq!(cache.ttl, DEFAULT_CACHE_TTL);
    assert_eq!(cache.max_bytes, DEFAULT_CACHE_MAX_BYTES);
    assert!(!cache.shared && matches!(cache.store, CacheStore::Memory));
}

#[test]
fn the_cache_and_what_routes_say_of_it_are_read() {
    let text = format!(
        r#"{GOOD}
        [redis]
        url = "redis://:a-password@127.0.0.1:6379"
        prefix = "mine:"
        [cache]
        store = "redis"
        ttl = "2h"
        max_entry_bytes = 1000
        max_bytes = 5000
        shared = true
        wait = "5s"
        max_waiting = 3
        [[routes]]
        model = "a"
        targets = [{{}}]
        cache = true
        [[routes]]
        model = "b"
        targets = [{{}}]
        cache = "10m"
        [[routes]]
        model = "c"
        targets = [{{}}]
        cache = false
        [[routes]]
        model = "d"
        targets = [{{}}]
        "#
    );
    let config = parse(&text).unwrap();
    let cache = config.cache.as_ref().unwrap();
    assert!(matches!(&cache.store, CacheStore::Redis { prefix, .. } if prefix == "mine:cache:"));
    assert_eq!((cache.max_entry_bytes, cache.max_waiting), (1000, 3));
    assert!(cache.shared);
    let said: Vec<_> = config.routes.iter().map(|route| route.cache).collect();
    let ten_minutes = RouteCache::For(Duration::from_mins(10));
    assert_eq!(
        said,
        [
            Some(RouteCache::On),
            Some(ten_minutes),
            Some(RouteCache::Off),
            None
        ]
    );
    assert!(!format!("{config:?}").contains("a-password"));
}

#[test]
fn what_is_wrong_with_the_cache_is_said_with_its_place() {
    let route = "[[routes]]\nmodel = \"a\"\ntargets = [{}]\ncache";
    for (more, place) in [
        ("[cache]\nstore = \"redis\"".to_owned(), "cache.store"),
        ("[cache]\nstore = \"disk\"".to_owned(), "cache.store"),
        ("[cache]\nttl = \"0s\"".to_owned(), "cache.ttl"),
        ("[cache]\nttl = \"30 days\"".to_owned(), "cache.ttl"),
        ("[cache]\nwait = \"soon\"".to_owned(), "cache.wait"),
        (
            "[cache]\nmax_entry_bytes = 0".to_owned(),
            "cache.max_entry_bytes",
        ),
        (
            "[cache]\nmax_bytes = 10\nmax_entry_bytes = 11".to_owned(),
            "cache.max_bytes",
        ),
        (format!("{route} = true"), "routes[0].cache"),
        (format!("[cache]\n{route} = \"long\""), "routes[0].cache"),
    ] {
        match parse(&format!("{GOOD}\n{more}")) {
            Err(ConfigError::Invalid(problems)) => {
                assert_eq!(problems[0].place, place, "{problems:?}");
                assert_eq!(problems.len(), 1, "{problems:?}");
            }
            other => panic!("{more}: {other:?}"),
        }
    }
}
