//! bailian-quota
