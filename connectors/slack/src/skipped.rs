//! Types that are known and not published, each with its reason. `kinds.toml` lists the same.

const REPEATED: &str = "the message that shares the file carries it";
const CHANNELS: &str = "administration of channels; nothing that a customer says";
const WORKSPACE: &str = "administration of the workspace; nothing that a customer says";
const MEMBERS: &str = "profile and state of members; nothing that a customer says";
const MARKS: &str = "a private mark or a pin; nothing that a customer says";
const CONNECT: &str = "invitations between workspaces; an administrator answers them in Slack";
const APP: &str = "the app's own administration; it changes nothing that is read";
const FUNCTIONS: &str = "runs a workflow step; the app that provides the step answers it";
const UNFINISHED: &str = "asks for menu entries while somebody types";
const CLOSED: &str = "a dialog was closed without being sent";
const PREVIEW: &str = "asks the app for a link preview; the message with the link carries it";
const ASSISTANT: &str = "the assistant's pane was opened or moved; what is said comes as messages";
const METADATA: &str = "data that apps put beside messages; the message itself carries what was said";

/// Name of the type, reason.
pub(crate) const SKIPPED: &[(&str, &str)] = &[
    ("app_deleted", APP),
    ("app_installed", APP),
    ("app_requested", APP),
    ("app_uninstalled_team", APP),
    ("scope_denied", APP),
    ("scope_granted", APP),
    ("resources_added", APP),
    ("resources_removed", APP),
    ("assistant_thread_context_changed", ASSISTANT),
    ("assistant_thread_started", ASSISTANT),
    ("block_suggestion", UNFINISHED),
    ("dialog_suggestion", UNFINISHED),
    ("dialog_cancellation", CLOSED),
    ("view_closed", CLOSED),
    ("call_rejected", MEMBERS),
    ("channel_archive", CHANNELS),
    ("channel_created", CHANNELS),
    ("channel_deleted", CHANNELS),
    ("channel_history_changed", CHANNELS),
    ("channel_id_changed", CHANNELS),
    ("channel_left", CHANNELS),
    ("channel_rename", CHANNELS),
    ("channel_shared", CHANNELS),
    ("channel_unarchive", CHANNELS),
    ("channel_unshared", CHANNELS),
    ("group_archive", CHANNELS),
    ("group_close", CHANNELS),
    ("group_deleted", CHANNELS),
    ("group_history_changed", CHANNELS),
    ("group_left", CHANNELS),
    ("group_open", CHANNELS),
    ("group_rename", CHANNELS),
    ("group_unarchive", CHANNELS),
    ("im_close", CHANNELS),
    ("im_created", CHANNELS),
    ("im_history_changed", CHANNELS),
    ("im_open", CHANNELS),
    ("dnd_updated", MEMBERS),
    ("dnd_updated_user", MEMBERS),
    ("user_change", MEMBERS),
    ("user_connection", MEMBERS),
    ("user_huddle_changed", MEMBERS),
    ("user_profile_changed", MEMBERS),
    ("user_status_changed", MEMBERS),
    ("email_domain_changed", WORKSPACE),
    ("emoji_changed", WORKSPACE),
    ("grid_migration_finished", WORKSPACE),
    ("grid_migration_started", WORKSPACE),
    ("invite_requested", WORKSPACE),
    ("subteam_created", WORKSPACE),
    ("subteam_members_changed", WORKSPACE),
    ("subteam_self_added", WORKSPACE),
    ("subteam_self_removed", WORKSPACE),
    ("subteam_updated", WORKSPACE),
    ("team_access_granted", WORKSPACE),
    ("team_access_revoked", WORKSPACE),
    ("team_domain_change", WORKSPACE),
    ("team_join", WORKSPACE),
    ("team_rename", WORKSPACE),
    ("file_change", REPEATED),
    ("file_comment_deleted", REPEATED),
    ("file_created", REPEATED),
    ("file_public", REPEATED),
    ("file_shared", REPEATED),
    ("file_unshared", REPEATED),
    ("function_executed", FUNCTIONS),
    ("workflow_deleted", FUNCTIONS),
    ("workflow_published", FUNCTIONS),
    ("workflow_step_deleted", FUNCTIONS),
    ("workflow_step_edit", FUNCTIONS),
    ("workflow_step_execute", FUNCTIONS),
    ("workflow_unpublished", FUNCTIONS),
    ("entity_details_requested", PREVIEW),
    ("link_shared", PREVIEW),
    ("message_metadata_deleted", METADATA),
    ("message_metadata_posted", METADATA),
    ("message_metadata_updated", METADATA),
    ("pin_added", MARKS),
    ("pin_removed", MARKS),
    ("star_added", MARKS),
    ("star_removed", MARKS),
    ("shared_channel_invite_accepted", CONNECT),
    ("shared_channel_invite_approved", CONNECT),
    ("shared_channel_invite_declined", CONNECT),
    ("shared_channel_invite_received", CONNECT),
    ("shared_channel_invite_requested", CONNECT),
];

/// Why a type is not published; `None` for a type that is not on the list.
pub(crate) fn reason(kind: &str) -> Option<&'static str> {
    SKIPPED.iter().find(|(name, _)| *name == kind).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_toml_lists_the_same() {
        let kinds = connector_sdk::kinds::parse(include_str!("../kinds.toml")).unwrap();
        for (name, reason) in SKIPPED {
            let listed =
                kinds.types.iter().find(|one| one.name == *name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(listed.skipped.as_deref(), Some(*reason), "{name}");
        }
    }
}
