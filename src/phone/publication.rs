//! PUBLISH (RFC 3903). What is kept and repeated is in `subscription`.

use super::context::Cx;
use super::subscription::{Kind, Subscription};
use super::{PublishRequest, SubscriptionId};
use crate::error::{Error, ErrorCode};
use crate::sip::header::is_token;
use crate::sip::message::{Method, Request};
use crate::text::concat;
use crate::time::Duration;

impl Cx {
    pub(super) fn start_publication(
        &mut self,
        id: Option<SubscriptionId>,
        request: PublishRequest,
    ) -> Result<SubscriptionId, Error> {
        let uri = self.env.config.uri.aor();
        super::messaging::check_body(&request.content_type, &request.body)?;
        let Some(id) = id else {
            self.request_target(&uri)?;
            if !is_token(&request.event) {
                return Err(Error::invalid_config("event", "not the name of an event package"));
            }
            let kind = Kind::Publish {
                content_type: request.content_type,
                body: request.body,
                etag: None,
                unsent: true,
            };
            return self.add_subscription(uri, request.event, request.expires, kind);
        };
        let known = self.subscriptions.get_mut(&id).filter(|known| !known.ending);
        let Some(Subscription { kind: Kind::Publish { content_type, body, unsent, .. }, .. }) =
            known.map(|known| &mut **known)
        else {
            return Err(Error::new(ErrorCode::Ended, "The publication is over"));
        };
        *content_type = request.content_type;
        *body = request.body;
        *unsent = true;
        self.send_subscription(id);
        Ok(id)
    }

    /// The next PUBLISH: the first, a new body, a refresh or the end (RFC 3903, section 4.1).
    pub(super) fn publish_request(&mut self, id: SubscriptionId) -> Option<Request> {
        let uri = self.subscriptions.get(&id)?.target.clone();
        let mut request = self.request_outside(Method::Publish, &uri, &concat(&["<", &uri, ">"]));
        let known = self.subscriptions.get_mut(&id)?;
        let Kind::Publish { content_type, body, etag, unsent } = &mut known.kind else { return None };
        if let Some(etag) = etag {
            request.headers.push("SIP-If-Match", etag.as_str());
        }
        if !known.ending && (*unsent || etag.is_none()) {
            *unsent = false;
            request.headers.push("Content-Type", content_type.as_str());
            request.body = body.as_bytes().to_vec();
        }
        Some(request)
    }

    /// Lifetimes of publications are as those of subscriptions; nothing else is different after a failure.
    pub(super) fn publication_failed(&mut self, id: SubscriptionId, error: Error) {
        self.subscription_failed(id, error);
    }
}

/// Asked for where nothing is said.
pub(super) const DEFAULT_EXPIRES: Duration = Duration::from_secs(3600);
