//! `genkan users`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::report::Report;
use crate::wire::admin::{CreateUser, User, UserAnswer, UsersAnswer, encode_segment};

#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Create a user.
    #[command(visible_aliases = ["c", "new"])]
    Create {
        /// Login name; what policies call the user.
        name: String,
        #[arg(long, short, default_value = "", value_name = "TEXT", hide_default_value = true)]
        display_name: String,
    },
    /// List all users.
    #[command(visible_aliases = ["ls", "show"])]
    List,
    /// Give a user another name.
    #[command(visible_alias = "mv")]
    Rename {
        #[command(flatten)]
        which: Which,
        #[arg(long, short = 'r', value_name = "NAME")]
        new_name: String,
    },
    /// Delete a user who has no nodes.
    #[command(visible_alias = "delete")]
    Destroy {
        #[command(flatten)]
        which: Which,
        /// Do not ask.
        #[arg(long)]
        force: bool,
    },
}

/// A user by number or by name.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    #[arg(long, short, value_name = "ID")]
    identifier: Option<i64>,
    #[arg(long, short)]
    name: Option<String>,
}

pub async fn run(client: &Client, command: UsersCommand) -> Result<Report, CliError> {
    match command {
        UsersCommand::Create { name, display_name } => {
            let request = CreateUser { name, display_name };
            let UserAnswer { user } = client.write(Method::POST, "/user", &request).await?;
            Ok(Report::text(&user, format!("Created user {} with identifier {}.", user.name, user.id)))
        }
        UsersCommand::List => {
            let UsersAnswer { users } = client.read("/user").await?;
            let rows: Vec<_> = users.iter().map(row).collect();
            Ok(Report::table(&users, &["ID", "Name", "Display name", "Created"], &rows))
        }
        UsersCommand::Rename { which, new_name } => {
            let id = which.find(client).await?.id;
            let path = format!("/user/{id}/rename/{}", encode_segment(&new_name));
            let UserAnswer { user } = client.write(Method::POST, &path, &json!({})).await?;
            Ok(Report::text(&user, format!("User {id} is now called {}.", user.name)))
        }
        UsersCommand::Destroy { which, force } => {
            let user = which.find(client).await?;
            super::confirm(&format!("Delete user {} and the keys made for it?", user.name), force)?;
            let _: Value = client.write(Method::DELETE, &format!("/user/{}", user.id), &json!({})).await?;
            Ok(Report::done(format!("Deleted user {}.", user.name)))
        }
    }
}

/// The user whom `text` numbers or names.
pub async fn find(client: &Client, text: &str) -> Result<User, CliError> {
    let which = match text.parse() {
        Ok(identifier) => Which { identifier: Some(identifier), name: None },
        Err(_) => Which { identifier: None, name: Some(text.to_owned()) },
    };
    which.find(client).await
}

impl Which {
    async fn find(&self, client: &Client) -> Result<User, CliError> {
        let UsersAnswer { users } = client.read("/user").await?;
        let is_meant = |user: &User| match (self.identifier, &self.name) {
            (Some(id), _) => user.id == id,
            (None, Some(name)) => user.name == *name,
            (None, None) => false,
        };
        users.into_iter().find(is_meant).ok_or_else(|| {
            let called = self.identifier.map(|id| id.to_string()).or_else(|| self.name.clone());
            CliError::Refused(format!(
                "there is no user {}; `genkan users list` shows all",
                called.unwrap_or_default()
            ))
        })
    }
}

fn row(user: &User) -> Vec<String> {
    let created = user.created_at.map(|time| time.to_string()).unwrap_or_default();
    vec![user.id.to_string(), user.name.clone(), user.display_name.clone(), created]
}
