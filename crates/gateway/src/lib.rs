//! bailian-gateway
