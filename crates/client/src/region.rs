//! Regions and workspaces: what decides the host when no base URL is given.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A region of Model Studio. Keys and model sets belong to one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Region {
    /// `cn-beijing`, the default.
    #[default]
    CnBeijing,
    /// `ap-southeast-1`, Singapore.
    ApSoutheast1,
    /// `cn-hongkong`.
    CnHongkong,
    /// `us-east-1`, Virginia.
    UsEast1,
    /// `eu-central-1`, Frankfurt; reached through workspace hosts only.
    EuCentral1,
    /// `ap-northeast-1`, Tokyo; reached through workspace hosts only.
    ApNortheast1,
}

/// A workspace id, safe to be put into a host name and a header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Workspace(String);

/// Not the name of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a region of Model Studio")]
pub struct UnknownRegion {
    suggestion: Option<Region>,
}

/// Not a workspace id: it must match `^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`.
///
/// The rule is a security boundary. The id becomes part of the host name, and a `/` in it would
/// send the key to another host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not a workspace id")]
pub struct InvalidWorkspace;

// === impl Region ===

impl Region {
    /// Every region.
    pub const ALL: [Self; 6] = [
        Self::CnBeijing,
        Self::ApSoutheast1,
        Self::CnHongkong,
        Self::UsEast1,
        Self::EuCentral1,
        Self::ApNortheast1,
    ];

    /// The region's id as the service writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CnBeijing => "cn-beijing",
            Self::ApSoutheast1 => "ap-southeast-1",
            Self::CnHongkong => "cn-hongkong",
            Self::UsEast1 => "us-east-1",
            Self::EuCentral1 => "eu-central-1",
            Self::ApNortheast1 => "ap-northeast-1",
        }
    }

    /// The host that all workspaces of the region share; `None` where there is none.
    pub fn shared_host(self) -> Option<&'static str> {
        match self {
            Self::CnBeijing => Some("dashscope.aliyuncs.com"),
            Self::ApSoutheast1 => Some("dashscope-intl.aliyuncs.com"),
            Self::CnHongkong => Some("cn-hongkong.dashscope.aliyuncs.com"),
            Self::UsEast1 => Some("dashscope-us.aliyuncs.com"),
            Self::EuCentral1 | Self::ApNortheast1 => None,
        }
    }

    /// The region that one of the service's own hosts belongs to.
    pub fn of_host(host: &str) -> Option<Self> {
        let name = host.split(':').next().unwrap_or_default();
        Self::ALL.into_iter().find(|region| {
            region.shared_host() == Some(name)
                || name
                    .strip_suffix(".maas.aliyuncs.com")
                    .and_then(|rest| rest.split_once('.'))
                    .is_some_and(|(_, place)| place == region.as_str())
        })
    }

    /// The host of one workspace in the region.
    pub fn workspace_host(self, workspace: &Workspace) -> String {
        format!("{}.{}.maas.aliyuncs.com", workspace.as_str(), self.as_str())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(region) = Self::ALL.into_iter().find(|region| region.as_str() == text) {
            return Ok(region);
        }
        let suggestion = match text.to_ascii_lowercase().as_str() {
            "beijing" | "cn" | "china" | "cn_beijing" | "cn-hangzhou" => Some(Self::CnBeijing),
            "singapore" | "sg" | "intl" | "international" | "ap_southeast_1" => {
                Some(Self::ApSoutheast1)
            }
            "hongkong" | "hong-kong" | "hk" | "cn_hongkong" => Some(Self::CnHongkong),
            "us" | "usa" | "virginia" | "us_east_1" | "us-west-1" => Some(Self::UsEast1),
            "eu" | "frankfurt" | "germany" | "eu_central_1" => Some(Self::EuCentral1),
            "jp" | "tokyo" | "japan" | "ap_northeast_1" => Some(Self::ApNortheast1),
            lower => Self::ALL
                .into_iter()
                .find(|region| region.as_str() == lower),
        };
        Err(UnknownRegion { suggestion })
    }
}

impl UnknownRegion {
    /// What to write instead.
    pub fn fix(self) -> String {
        if let Some(region) = self.suggestion {
            return format!("write {region}");
        }
        let names: Vec<&str> = Region::ALL.into_iter().map(Region::as_str).collect();
        format!("use one of {}", names.join(", "))
    }
}

// === impl Workspace ===

impl Workspace {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Workspace {
    type Err = InvalidWorkspace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let first_is_plain = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first_is_plain && text.len() <= 64 && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidWorkspace)
        }
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_is_read_back_from_its_name() {
        for region in Region::ALL {
            assert_eq!(region.as_str().parse(), Ok(region));
        }
    }

    #[test]
    fn a_common_name_gets_a_suggestion_and_nonsense_the_list() {
        assert_eq!(
            "Singapore".parse::<Region>().unwrap_err().fix(),
            "write ap-southeast-1"
        );
        assert!(
            "mars-1"
                .parse::<Region>()
                .unwrap_err()
                .fix()
                .contains("eu-central-1")
        );
    }

    #[test]
    fn a_workspace_cannot_change_the_host() {
        for text in [
            "",
            "bad/ws",
            "-a",
            "a.b",
            "a@b",
            "ws\n",
            "工作",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<Workspace>().is_err(), "{text}");
        }
        assert!("llm-ws_0001".parse::<Workspace>().is_ok());
    }
}
