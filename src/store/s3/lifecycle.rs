//! The lifecycle configuration of a bucket, as the text that the server has: what a client does not know of a rule of
//! somebody else it must not lose, so none of it is taken apart here.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpRequest,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
    primitives::SdkBody,
    types::TransitionDefaultMinimumObjectSize,
};

use super::{
    S3Store,
    call::Pace,
    fault::{Cause, Fault, classify},
    wire,
    write::set_header,
};
use crate::error::Result;

/// All rules of a bucket.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lifecycle {
    /// XML.
    pub text: String,
    /// `x-amz-transition-default-minimum-object-size`, which a PUT without it would change.
    pub minimum: Option<String>,
}

impl S3Store {
    /// The configuration that the bucket has; `None`: it has none. Fails with [`crate::error::Error::Unsupported`] where
    /// the server knows no such thing.
    pub async fn lifecycle(&self) -> Result<Option<Lifecycle>> {
        let text = Arc::<Mutex<String>>::default();
        let answer = self
            .call("GetBucketLifecycleConfiguration", Pace::Quick, || {
                let request = self.client().get_bucket_lifecycle_configuration().bucket(&*self.bucket);
                request.customize().interceptor(Body(Arc::clone(&text))).send()
            })
            .await;
        let minimum = match answer {
            Ok(answer) => answer.transition_default_minimum_object_size,
            Err(fault) if is_none(&fault) => return Ok(None),
            Err(fault) => return Err(classify(fault)),
        };
        let text = std::mem::take(&mut *text.lock().expect("nothing panics while it is held"));
        Ok(Some(Lifecycle { text, minimum: minimum.map(|size| size.as_str().to_owned()) }))
    }

    /// Replaces all that the bucket has; the S3 API knows no condition for it.
    pub async fn set_lifecycle(&self, lifecycle: &Lifecycle) -> Result<()> {
        let minimum = lifecycle.minimum.as_deref().map(TransitionDefaultMinimumObjectSize::from);
        let put = || {
            let request = self.client().put_bucket_lifecycle_configuration().bucket(&*self.bucket);
            let text = lifecycle.text.clone();
            request
                .set_transition_default_minimum_object_size(minimum.clone())
                .customize()
                .mutate_request(move |request| carry(request, &text))
                .send()
        };
        self.call("PutBucketLifecycleConfiguration", Pace::Slow, put).await.map(drop).map_err(classify)
    }

    /// Leaves the bucket without any rule.
    pub async fn remove_lifecycle(&self) -> Result<()> {
        let remove = || self.client().delete_bucket_lifecycle().bucket(&*self.bucket).send();
        self.call("DeleteBucketLifecycle", Pace::Slow, remove).await.map(drop).map_err(classify)
    }
}

fn is_none(fault: &Fault) -> bool {
    matches!(&fault.cause, Cause::Answer(answer) if answer.code == "NoSuchLifecycleConfiguration")
}

/// Puts a text into a request in the place of what the SDK wrote, with the sum that every server takes.
fn carry(request: &mut HttpRequest, text: &str) {
    let sums: Vec<String> = request
        .headers()
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
        .collect();
    for name in sums {
        request.headers_mut().remove(name.as_str());
    }
    *request.body_mut() = SdkBody::from(text);
    set_header(request, "content-type", "application/xml");
    set_header(request, "content-length", &text.len().to_string());
    set_header(request, "content-md5", &wire::content_md5(text.as_bytes()));
}

/// Keeps the body of an answer as it came.
#[derive(Debug)]
struct Body(Arc<Mutex<String>>);

impl Intercept for Body {
    fn name(&self) -> &'static str {
        "Body"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default();
        std::str::from_utf8(bytes)?.clone_into(&mut self.0.lock().expect("nothing panics while it is held"));
        Ok(())
    }
}
