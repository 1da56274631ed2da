//! Deletes content that is older than its tenant wants, or that nobody wants kept any more.

use bailian_ledger::{ContentOwner, Reader, StoreError};
use bailian_tenants::Directory;

/// Deletes what has to go by what the tree says now; answers how many.
///
/// Of a tenant that is gone or no longer asks, everything goes; of a project or key that is gone,
/// what the levels above say holds.
pub(super) fn retain(
    reader: &mut Reader,
    directory: &Directory,
    now_unix_ms: u64,
) -> Result<u64, StoreError> {
    reader.retain_contents(now_unix_ms, |owner| days_of(directory, owner))
}

fn days_of(directory: &Directory, owner: &ContentOwner) -> Option<u32> {
    let tenant = owner.tenant.parse().ok()?;
    let project = owner.project.parse().ok()?;
    let key = owner.key_id.parse().ok()?;
    let keep = directory.keep_content_of(tenant, project, key)?;
    Some(keep.days)
}

#[cfg(test)]
mod tests {
    use bailian_ledger::{Content, Sqlite};
    use bailian_tenants::key::Pepper;
    use bailian_tenants::model::{Project, Row, Tenant};
    use bailian_tenants::settings::{KeepContent, Settings};
    use bailian_tenants::{KeyId, ProjectId, TenantId};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const NOW: u64 = 1_795_000_000_000;

    fn tree(days: Option<u32>) -> Directory {
        let mut settings = Settings::named("研发部");
        settings.keep_content = days.map(KeepContent::for_days);
        let (tenant, project) = (TenantId::of_name("t"), ProjectId::of_name("p"));
        let at = Timestamp::UNIX_EPOCH;
        let rows = vec![
            Row::Tenant(Tenant::new(tenant, settings, at)),
            Row::Project(Project::new(project, tenant, Settings::named("客服"), at)),
        ];
        Directory::new(Pepper::from_bytes(&[7; 32]), rows)
    }

    #[test]
    fn content_goes_when_its_days_are_over_its_tenant_is_gone_or_asks_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(Sqlite::new(folder.path().join("ledger.db")));
        let keep = |reader: &mut Reader| {
            let (project, key) = (ProjectId::of_name("p"), KeyId::of_name("k"));
            let tenant = TenantId::of_name("t").to_string();
            let owner = ContentOwner::new(tenant, project.to_string(), key.to_string());
            let mut content = Content::new(Uuid::now_v7(), NOW, owner);
            content.request = Some("你好".into());
            reader.keep(&[content]).unwrap();
        };
        keep(&mut reader);
        let (month, week) = (tree(Some(30)), tree(Some(7)));
        let on_day = |day: u64| NOW + day * DAY_MS;
        assert_eq!(retain(&mut reader, &month, on_day(30)).unwrap(), 0);
        assert_eq!(retain(&mut reader, &month, on_day(30) + 1).unwrap(), 1);
        // A clock that was set back keeps longer, and a shorter time holds for what is there.
        keep(&mut reader);
        assert_eq!(retain(&mut reader, &month, NOW - DAY_MS).unwrap(), 0);
        assert_eq!(retain(&mut reader, &month, on_day(8)).unwrap(), 0);
        assert_eq!(retain(&mut reader, &week, on_day(8)).unwrap(), 1);
        for tree in [
            tree(None),
            tree(Some(0)),
            Directory::new(Pepper::from_bytes(&[7; 32]), Vec::new()),
        ] {
            keep(&mut reader);
            assert_eq!(retain(&mut reader, &tree, NOW).unwrap(), 1);
        }
    }
}
