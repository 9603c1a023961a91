//! Status and history of one grant.

use super::{App, ServiceError, StatusView};
use crate::integration::Target;

impl App {
    /// A grant as it stands.
    ///
    /// # Errors
    /// There is none, or the store does not answer.
    pub async fn status(&self, target: &Target) -> Result<StatusView, ServiceError> {
        Ok(self.shown(&self.meant(target).await?).await)
    }

    /// The last transitions of a grant, oldest first.
    ///
    /// # Errors
    /// There is none, or the store does not answer.
    pub async fn history(&self, target: &Target) -> Result<Vec<serde_json::Value>, ServiceError> {
        let found = self.meant(target).await?;
        let log = self.store().log(&found.id).await?;
        Ok(log
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}
