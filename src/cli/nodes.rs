//! `genkan nodes`.

use clap::Subcommand;
use http::Method;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::client::Client;
use super::error::CliError;
use super::report::Report;
use crate::base::wall_time::UnixTime;
use crate::wire::admin::{ApproveRoutes, ExpireNode, Node, NodeAnswer, NodesAnswer, SetTags, encode_segment};

const HEADINGS: [&str; 10] = [
    "ID",
    "Hostname",
    "Name",
    "User",
    "Tags",
    "IP addresses",
    "Ephemeral",
    "Last seen",
    "Expiration",
    "Connected",
];

#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the nodes.
    #[command(visible_aliases = ["ls", "show"])]
    List {
        /// Only those of this user.
        #[arg(long, short, value_name = "USER")]
        user: Option<String>,
    },
    /// List the subnet routes that nodes offer and which of them are approved.
    #[command(visible_aliases = ["lsr", "routes"])]
    ListRoutes {
        #[arg(long, short, value_name = "ID")]
        identifier: Option<i64>,
    },
    /// Approve exactly these of the routes a node offers.
    ApproveRoutes {
        #[arg(long, short, value_name = "ID")]
        identifier: i64,
        #[arg(long, short, value_delimiter = ',', num_args = 0.., required = true)]
        routes: Vec<IpNet>,
    },
    /// Remove a node from the tailnet.
    #[command(visible_alias = "del")]
    Delete {
        #[arg(long, short, value_name = "ID")]
        identifier: i64,
        /// Do not ask.
        #[arg(long)]
        force: bool,
    },
    /// End a node's key, now or later: it must log in again.
    #[command(visible_aliases = ["logout", "exp", "e"])]
    Expire {
        #[arg(long, short, value_name = "ID")]
        identifier: i64,
        /// When, as in 2027-01-31T12:00:00Z; now if absent.
        #[arg(long, short, conflicts_with = "disable")]
        expiry: Option<UnixTime>,
        /// Never.
        #[arg(long, short)]
        disable: bool,
    },
    /// Give a node another name in the tailnet.
    Rename {
        #[arg(long, short, value_name = "ID")]
        identifier: i64,
        new_name: String,
    },
    /// Replace a node's tags; a tagged node no longer belongs to its user.
    #[command(visible_aliases = ["tags", "t"])]
    Tag {
        #[arg(long, short, value_name = "ID")]
        identifier: i64,
        #[arg(long, short, value_delimiter = ',', value_name = "tag:A,tag:B", required = true)]
        tags: Vec<String>,
    },
}

pub async fn run(client: &Client, command: NodesCommand) -> Result<Report, CliError> {
    match command {
        NodesCommand::List { user } => list(client, user).await,
        NodesCommand::ListRoutes { identifier } => list_routes(client, identifier).await,
        NodesCommand::ApproveRoutes { identifier, routes } => {
            let node = change(client, identifier, "approve_routes", &ApproveRoutes { routes }).await?;
            Ok(Report::text(&node, format!("Node {identifier} serves: {}.", join(&node.subnet_routes))))
        }
        NodesCommand::Delete { identifier, force } => delete(client, identifier, force).await,
        NodesCommand::Expire { identifier, expiry, disable } => {
            let request = ExpireNode { expiry, disable_expiry: disable };
            let node = change(client, identifier, "expire", &request).await?;
            let when = node.expiry.map_or_else(|| "never".to_owned(), |time| format!("at {time}"));
            Ok(Report::text(&node, format!("The key of node {identifier} ends {when}.")))
        }
        NodesCommand::Rename { identifier, new_name } => {
            let action = format!("rename/{}", encode_segment(&new_name));
            let node = change(client, identifier, &action, &json!({})).await?;
            Ok(Report::text(&node, format!("Node {identifier} is now called {}.", node.given_name)))
        }
        NodesCommand::Tag { identifier, tags } => {
            let node = change(client, identifier, "tags", &SetTags { tags }).await?;
            Ok(Report::text(&node, format!("Node {identifier} has the tags {}.", node.tags.join(", "))))
        }
    }
}

async fn list(client: &Client, user: Option<String>) -> Result<Report, CliError> {
    let path =
        user.map_or_else(|| "/node".to_owned(), |user| format!("/node?user={}", encode_segment(&user)));
    let NodesAnswer { nodes } = client.read(&path).await?;
    let rows: Vec<_> = nodes.iter().map(row).collect();
    Ok(Report::table(&nodes, &HEADINGS, &rows))
}

async fn list_routes(client: &Client, identifier: Option<i64>) -> Result<Report, CliError> {
    let NodesAnswer { mut nodes } = client.read("/node").await?;
    nodes.retain(|node| identifier.is_none_or(|id| node.id == id) && !node.available_routes.is_empty());
    let row = |node: &Node| {
        vec![
            node.id.to_string(),
            node.given_name.clone(),
            join(&node.available_routes),
            join(&node.approved_routes),
            join(&node.subnet_routes),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    Ok(Report::table(&nodes, &["ID", "Name", "Offered", "Approved", "Serving"], &rows))
}

async fn delete(client: &Client, identifier: i64, force: bool) -> Result<Report, CliError> {
    let path = format!("/node/{identifier}");
    let NodeAnswer { node } = client.read(&path).await?;
    super::confirm(&format!("Remove node {} from the tailnet?", node.given_name), force)?;
    let _: Value = client.write(Method::DELETE, &path, &json!({})).await?;
    Ok(Report::done(format!("Removed node {}.", node.given_name)))
}

async fn change(
    client: &Client,
    identifier: i64,
    action: &str,
    request: &impl serde::Serialize,
) -> Result<Node, CliError> {
    let path = format!("/node/{identifier}/{action}");
    let NodeAnswer { node } = client.write(Method::POST, &path, request).await?;
    Ok(node)
}

fn row(node: &Node) -> Vec<String> {
    let time = |time: Option<UnixTime>| time.map(|time| time.to_string()).unwrap_or_default();
    let state = match (node.expired, node.online) {
        (true, _) => "expired",
        (false, true) => "online",
        (false, false) => "offline",
    };
    vec![
        node.id.to_string(),
        node.name.clone(),
        node.given_name.clone(),
        node.user.name.clone(),
        node.tags.join(","),
        join(&node.ip_addresses),
        node.ephemeral.to_string(),
        time(node.last_seen),
        time(node.expiry),
        state.to_owned(),
    ]
}

fn join(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
