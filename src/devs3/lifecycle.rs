//! The lifecycle configuration of a bucket. It is kept and told, and nothing ever moves or expires; a server that is
//! started again has none.

use std::collections::HashSet;

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        BucketLifecycleConfiguration, DeleteBucketLifecycleOutput, GetBucketLifecycleConfigurationOutput,
        PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput,
        TransitionDefaultMinimumObjectSize, TransitionStorageClass,
    },
    s3_error,
};

use crate::{faults::Lie, gate::lie, space::Space};

/// Rules of one bucket (S3 API).
const RULES_MAX: usize = 1_000;
/// Characters of a name (S3 API).
const ID_MAX: usize = 255;
/// What is younger cannot be of that class (S3 API).
const STANDARD_IA_DAYS: i32 = 30;

/// What a bucket has.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    all: BucketLifecycleConfiguration,
    minimum: Option<TransitionDefaultMinimumObjectSize>,
}

pub(crate) fn get(space: &Space) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let rules = space.lifecycle.lock().expect("nothing panics while it is held").clone();
    let rules = rules.ok_or_else(|| s3_error!(NoSuchLifecycleConfiguration))?;
    let output = GetBucketLifecycleConfigurationOutput {
        rules: Some(rules.all.rules),
        transition_default_minimum_object_size: rules.minimum,
    };
    Ok(S3Response::new(output))
}

pub(crate) fn put(
    space: &Space,
    req: &S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let summed = |name: &str| name == "content-md5" || name.starts_with("x-amz-checksum-");
    if !req.headers.keys().any(|name| summed(name.as_str())) {
        return Err(s3_error!(InvalidRequest, "Missing required header for this request: Content-MD5"));
    }
    let all = req.input.lifecycle_configuration.clone().ok_or_else(|| s3_error!(MalformedXML))?;
    if all.rules.is_empty() || all.rules.len() > RULES_MAX {
        return Err(s3_error!(MalformedXML));
    }
    let mut ids = HashSet::new();
    for rule in &all.rules {
        let id = rule.id.as_deref().unwrap_or_default();
        if id.len() > ID_MAX || !id.is_empty() && !ids.insert(id) {
            return Err(s3_error!(InvalidArgument, "Rule ID must be unique, and not longer than 255"));
        }
        if rule.filter.is_none() && rule.prefix.is_none() {
            return Err(s3_error!(MalformedXML));
        }
        for transition in rule.transitions.iter().flatten() {
            let cold = transition.storage_class.as_ref().map(TransitionStorageClass::as_str) == Some("STANDARD_IA");
            if cold && transition.days.is_some_and(|days| days < STANDARD_IA_DAYS) {
                return Err(s3_error!(
                    InvalidArgument,
                    "'Days' in Transition action must be greater than or equal to 30"
                ));
            }
        }
    }
    let lost = lie(req) == Some(Lie::Lost);
    let minimum = req.input.transition_default_minimum_object_size.clone();
    if !lost {
        let mut rules = space.lifecycle.lock().expect("nothing panics while it is held");
        *rules = Some(Rules { all, minimum: minimum.clone() });
    }
    let output = PutBucketLifecycleConfigurationOutput { transition_default_minimum_object_size: minimum };
    Ok(S3Response::new(output))
}

pub(crate) fn delete(space: &Space) -> S3Response<DeleteBucketLifecycleOutput> {
    *space.lifecycle.lock().expect("nothing panics while it is held") = None;
    S3Response::new(DeleteBucketLifecycleOutput::default())
}
