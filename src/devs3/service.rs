//! The S3 API: which call goes where.

use std::sync::Arc;

use s3s::{S3, S3Request, S3Response, S3Result, dto};

use crate::{acl, buckets::Spaces, lifecycle, listing, multipart, objects};

/// All calls that are implemented; s3s answers 501 to the others.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) spaces: Arc<Spaces>,
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn create_bucket(
        &self,
        req: S3Request<dto::CreateBucketInput>,
    ) -> S3Result<S3Response<dto::CreateBucketOutput>> {
        self.spaces.create(&req)
    }

    async fn delete_bucket(
        &self,
        req: S3Request<dto::DeleteBucketInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketOutput>> {
        self.spaces.delete(&req)
    }

    async fn head_bucket(&self, req: S3Request<dto::HeadBucketInput>) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        self.spaces.head(&req)
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        self.spaces.location(&req)
    }

    async fn list_buckets(&self, _: S3Request<dto::ListBucketsInput>) -> S3Result<S3Response<dto::ListBucketsOutput>> {
        Ok(S3Response::new(self.spaces.list()))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        req: S3Request<dto::GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLifecycleConfigurationOutput>> {
        lifecycle::get(&*self.spaces.get(&req.input.bucket)?)
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        req: S3Request<dto::PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<dto::PutBucketLifecycleConfigurationOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        lifecycle::put(&space, &req)
    }

    async fn delete_bucket_lifecycle(
        &self,
        req: S3Request<dto::DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<dto::DeleteBucketLifecycleOutput>> {
        Ok(lifecycle::delete(&*self.spaces.get(&req.input.bucket)?))
    }

    async fn get_object(&self, req: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::get(&space, &req)
    }

    async fn head_object(&self, req: S3Request<dto::HeadObjectInput>) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::head(&space, &req)
    }

    async fn get_object_acl(
        &self,
        req: S3Request<dto::GetObjectAclInput>,
    ) -> S3Result<S3Response<dto::GetObjectAclOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        acl::get(&space, &req)
    }

    async fn put_object_acl(
        &self,
        req: S3Request<dto::PutObjectAclInput>,
    ) -> S3Result<S3Response<dto::PutObjectAclOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        acl::put(&space, &req)
    }

    async fn get_object_attributes(
        &self,
        req: S3Request<dto::GetObjectAttributesInput>,
    ) -> S3Result<S3Response<dto::GetObjectAttributesOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::attributes(&space, &req)
    }

    async fn put_object(&self, req: S3Request<dto::PutObjectInput>) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::put(&space, req).await
    }

    async fn copy_object(&self, req: S3Request<dto::CopyObjectInput>) -> S3Result<S3Response<dto::CopyObjectOutput>> {
        let (from, _) = objects::source(&req.input.copy_source)?;
        let (from, to) = (self.spaces.get(from)?, self.spaces.get(&req.input.bucket)?);
        objects::copy(&from, &to, &req)
    }

    async fn delete_object(
        &self,
        req: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::delete(&space, &req)
    }

    async fn delete_objects(
        &self,
        req: S3Request<dto::DeleteObjectsInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectsOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        objects::delete_many(&space, &req)
    }

    async fn list_objects(
        &self,
        req: S3Request<dto::ListObjectsInput>,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        listing::v1(&space, &req)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let space = self.spaces.get(&req.input.bucket)?;
        listing::v2(&space, &req)
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<dto::CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CreateMultipartUploadOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::begin(&space, &req)
    }

    async fn upload_part(&self, req: S3Request<dto::UploadPartInput>) -> S3Result<S3Response<dto::UploadPartOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::part(&space, req).await
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<dto::UploadPartCopyInput>,
    ) -> S3Result<S3Response<dto::UploadPartCopyOutput>> {
        let (from, _) = objects::source(&req.input.copy_source)?;
        let (from, to) = (self.spaces.get(from)?, self.spaces.get(&req.input.bucket)?);
        multipart::part_copy(&from, &to, &req)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::CompleteMultipartUploadOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::complete(&space, &req)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<dto::AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<dto::AbortMultipartUploadOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::abort(&space, &req)
    }

    async fn list_parts(&self, req: S3Request<dto::ListPartsInput>) -> S3Result<S3Response<dto::ListPartsOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::parts(&space, &req)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<dto::ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<dto::ListMultipartUploadsOutput>> {
        let space = self.spaces.get(&req.input.bucket)?;
        multipart::uploads(&space, &req)
    }
}
