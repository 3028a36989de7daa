//! Commands about users.

use crate::base::wall_time::WallTime;
use crate::coordinator::core::admin_view::{UserRequest, UserView};
use crate::coordinator::core::change::{Issued, Mutation};
use crate::coordinator::core::refusal::Refusal;
use crate::coordinator::core::snapshot::user_view;
use crate::coordinator::core::tailnet::Tailnet;
use crate::coordinator::core::user::{
    FIRST_USER, TAGGED_DEVICES_NAME, UserRecord, is_plain_text, is_same_name, is_valid_name,
};
use crate::wire::control::UserId;

use super::Decision;

impl Tailnet {
    /// # Errors
    /// 400 for a name nobody could write, 409 for one that is taken.
    pub fn decide_create_user(
        &self,
        request: &UserRequest,
        wall: WallTime,
    ) -> Result<Decision<UserView>, Refusal> {
        self.check_user_name(&request.name, None)?;
        if !is_plain_text(&request.display_name) {
            return Err(Refusal::bad_request("a display name may not hold quotes, backslashes or line ends"));
        }
        let user = UserRecord {
            id: UserId(self.issued.user.0 + 1),
            name: request.name.clone(),
            display_name: request.display_name.clone(),
            created: wall.known(),
        };
        let issued = Mutation::Issued(Issued { user: user.id, ..self.issued });
        Ok((user_view(&user), vec![issued, Mutation::User(user)]))
    }

    /// # Errors
    /// 404 for an unknown user; as for creation otherwise.
    pub fn decide_rename_user(&self, user: UserId, name: &str) -> Result<Decision<UserView>, Refusal> {
        let before = self.user_or_refusal(user)?;
        self.check_user_name(name, Some(user))?;
        let renamed = UserRecord { name: name.to_owned(), ..before.clone() };
        Ok((user_view(&renamed), vec![Mutation::User(renamed)]))
    }

    /// The user's keys go too; nodes do not, so there must be none.
    ///
    /// # Errors
    /// 404 for an unknown user, 409 for one that has nodes, 403 for the first one.
    pub fn decide_delete_user(&self, user: UserId) -> Result<Decision<()>, Refusal> {
        self.user_or_refusal(user)?;
        if user == FIRST_USER {
            return Err(Refusal::forbidden(
                "the first user owns the gateway and cannot be deleted; it can be renamed",
            ));
        }
        let count = self.view.entries().filter(|entry| entry.record.user == Some(user)).count();
        if count > 0 {
            return Err(Refusal::conflict(format!("this user has {count} nodes; delete those first")));
        }
        let keys = self.view.keys.values().filter(|key| key.user == Some(user));
        let mut mutations: Vec<_> = keys.map(|key| Mutation::KeyRemoved(key.id)).collect();
        mutations.push(Mutation::UserRemoved(user));
        Ok(((), mutations))
    }

    pub(super) fn user_or_refusal(&self, user: UserId) -> Result<&UserRecord, Refusal> {
        self.view.users.get(&user).ok_or_else(|| {
            Refusal::not_found(format!("there is no user {user}; genkan users list shows those that are"))
        })
    }

    fn check_user_name(&self, name: &str, own: Option<UserId>) -> Result<(), Refusal> {
        if !is_valid_name(name) {
            return Err(Refusal::bad_request(
                "a user name is made of letters, digits and . _ + - @, and is not empty",
            ));
        }
        let others = self.view.users.values().filter(|user| Some(user.id) != own);
        let taken = others.map(|user| user.name.as_str()).chain([TAGGED_DEVICES_NAME]);
        if taken.into_iter().any(|taken| is_same_name(taken, name)) {
            return Err(Refusal::conflict(format!("there is a user {name} already")));
        }
        Ok(())
    }
}
