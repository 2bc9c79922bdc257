//! What is counted. Labels have few values each; nothing that names a person or a number is one.

use serde::Serialize;

use crate::calls::Code;

pub(crate) fn call_started() {}

pub(crate) fn call_ended(_reason: &str) {}

/// What 46elks answered, other than with a call.
pub(crate) fn refused(_code: &'static str) {}

/// What the proxy answered, other than with what was asked for.
pub(crate) fn problem(_code: &'static str) {}

pub(crate) fn request(_route: String, _method: &'static str, _status: u16, _seconds: f64) {}

/// A code as clients see it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::InvalidDestination => "invalid_destination",
        Code::ProviderAuth => "provider_auth",
        Code::ProviderConfig => "provider_config",
        Code::ProviderCredit => "provider_credit",
        Code::ProviderBusy => "provider_busy",
        Code::ProviderError => "provider_error",
    }
}

/// A state or reason as clients see it.
pub(crate) fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
