import { budgetInfoEndpoint } from './budget/budget-info.ts';
import { budgetSettingsEndpoint } from './budget/budget-settings.ts';
import { deleteBudgetEndpoint } from './budget/delete-budget.ts';
import { listBudgetsEndpoint } from './budget/list-budgets.ts';
import { newBudgetEndpoint } from './budget/new-budget.ts';
import { updateBudgetEndpoint } from './budget/update-budget.ts';
import { blockCustomersEndpoints, unblockCustomersEndpoints } from './customer/block-customers.ts';
import { deleteCustomersEndpoints } from './customer/delete-customers.ts';
import { newCustomerEndpoints } from './customer/new-customer.ts';
import { customerInfoEndpoints, listCustomersEndpoints } from './customer/show-customers.ts';
import { updateCustomerEndpoints } from './customer/update-customer.ts';
import { drainWorkerEndpoint, removeWorkerEndpoint, resyncWorkerEndpoint } from './fleet/command-worker.ts';
import { fleetChangesEndpoint } from './fleet/list-changes.ts';
import { fleetRegionsEndpoint, fleetWorkersEndpoint } from './fleet/list-workers.ts';
import { rollBackEndpoint } from './fleet/roll-back-change.ts';
import { fleetChangeEndpoint } from './fleet/show-change.ts';
import { fleetEventsEndpoint } from './fleet/watch-fleet.ts';
import type { Endpoint } from './handler.ts';
import { makeJoinTokenEndpoint } from './join/make-join-token.ts';
import { revokeWorkerEndpoint } from './join/revoke-worker.ts';
import { blockKeyEndpoint, unblockKeyEndpoint } from './key/block-key.ts';
import { deleteKeyEndpoint } from './key/delete-key.ts';
import { generateKeyEndpoint } from './key/generate-key.ts';
import { keyInfoEndpoint } from './key/key-info.ts';
import { listKeysEndpoint } from './key/list-keys.ts';
import { updateKeyEndpoint } from './key/update-key.ts';
import { blockModelEndpoint, unblockModelEndpoint } from './model/block-model.ts';
import { deleteModelEndpoint } from './model/delete-model.ts';
import { modelGroupInfoEndpoint } from './model/group-info.ts';
import { listModelsEndpoint } from './model/list-models.ts';
import { modelInfoEndpoint, modelInfoV1Endpoint } from './model/model-info.ts';
import { newModelEndpoint } from './model/new-model.ts';
import { patchModelEndpoint } from './model/patch-model.ts';
import { updateModelEndpoint } from './model/update-model.ts';
import {
  addOrganizationMemberEndpoint,
  deleteOrganizationMemberEndpoint,
  updateOrganizationMemberEndpoint,
} from './organization/change-members.ts';
import { deleteOrganizationsEndpoint } from './organization/delete-organizations.ts';
import { newOrganizationEndpoint } from './organization/new-organization.ts';
import {
  listOrganizationsEndpoint,
  organizationInfoEndpoint,
  organizationInfosEndpoint,
} from './organization/show-organizations.ts';
import { updateOrganizationEndpoint } from './organization/update-organization.ts';
import { calculateSpendEndpoint } from './prices/calculate-spend.ts';
import { estimateCostEndpoint } from './prices/estimate-cost.ts';
import {
  costMapEndpoint,
  priceScheduleEndpoint,
  reloadPricesEndpoint,
  schedulePricesEndpoint,
} from './prices/price-list.ts';
import { spendLogsEndpoint } from './spend/spend-logs.ts';
import { deleteTagEndpoint } from './tag/delete-tag.ts';
import { newTagEndpoint } from './tag/new-tag.ts';
import { listTagsEndpoint, tagInfoEndpoint } from './tag/show-tags.ts';
import { updateTagEndpoint } from './tag/update-tag.ts';
import { addMemberEndpoint } from './team/add-member.ts';
import { availableTeamsEndpoint } from './team/available-teams.ts';
import { blockTeamEndpoint, unblockTeamEndpoint } from './team/block-team.ts';
import { bulkAddMembersEndpoint } from './team/bulk-add-members.ts';
import { addTeamModelsEndpoint, deleteTeamModelsEndpoint } from './team/change-models.ts';
import { deleteMemberEndpoint } from './team/delete-member.ts';
import { deleteTeamsEndpoint } from './team/delete-teams.ts';
import { filterTeamsEndpoint, listTeamsEndpoint, pageTeamsEndpoint } from './team/list-teams.ts';
import { newTeamEndpoint } from './team/new-team.ts';
import { ownMembershipEndpoint } from './team/own-membership.ts';
import {
  bulkTeamPermissionsEndpoint,
  teamPermissionsEndpoint,
  updateTeamPermissionsEndpoint,
} from './team/permissions.ts';
import { resetMemberSpendEndpoint } from './team/reset-member-spend.ts';
import { teamInfoEndpoint } from './team/team-info.ts';
import { updateMemberEndpoint } from './team/update-member.ts';
import { patchTeamEndpoint, updateTeamEndpoint } from './team/update-team.ts';
import { availableRolesEndpoint } from './user/available-roles.ts';
import { availableUsersEndpoint } from './user/available-users.ts';
import { bulkUpdateUsersEndpoint } from './user/bulk-update-users.ts';
import { deleteUsersEndpoint } from './user/delete-users.ts';
import { filterUsersEndpoint, listUsersEndpoint } from './user/list-users.ts';
import { newUserEndpoint } from './user/new-user.ts';
import { updateUserEndpoint } from './user/update-user.ts';
import { userInfoEndpoint, userInfoV2Endpoint } from './user/user-info.ts';

/** Everything that the management API serves. */
export const ENDPOINTS: readonly Endpoint[] = [
  generateKeyEndpoint,
  updateKeyEndpoint,
  deleteKeyEndpoint,
  blockKeyEndpoint,
  unblockKeyEndpoint,
  keyInfoEndpoint,
  listKeysEndpoint,
  newModelEndpoint,
  updateModelEndpoint,
  patchModelEndpoint,
  deleteModelEndpoint,
  modelInfoEndpoint,
  modelInfoV1Endpoint,
  listModelsEndpoint,
  modelGroupInfoEndpoint,
  blockModelEndpoint,
  unblockModelEndpoint,
  makeJoinTokenEndpoint,
  revokeWorkerEndpoint,
  spendLogsEndpoint,
  calculateSpendEndpoint,
  estimateCostEndpoint,
  costMapEndpoint,
  reloadPricesEndpoint,
  schedulePricesEndpoint,
  priceScheduleEndpoint,
  fleetWorkersEndpoint,
  fleetRegionsEndpoint,
  fleetChangesEndpoint,
  fleetChangeEndpoint,
  rollBackEndpoint,
  fleetEventsEndpoint,
  drainWorkerEndpoint,
  resyncWorkerEndpoint,
  removeWorkerEndpoint,
  availableRolesEndpoint,
  availableUsersEndpoint,
  bulkUpdateUsersEndpoint,
  deleteUsersEndpoint,
  filterUsersEndpoint,
  listUsersEndpoint,
  newUserEndpoint,
  updateUserEndpoint,
  userInfoEndpoint,
  userInfoV2Endpoint,
  addMemberEndpoint,
  availableTeamsEndpoint,
  blockTeamEndpoint,
  unblockTeamEndpoint,
  bulkAddMembersEndpoint,
  addTeamModelsEndpoint,
  deleteTeamModelsEndpoint,
  deleteMemberEndpoint,
  deleteTeamsEndpoint,
  filterTeamsEndpoint,
  listTeamsEndpoint,
  pageTeamsEndpoint,
  newTeamEndpoint,
  ownMembershipEndpoint,
  bulkTeamPermissionsEndpoint,
  teamPermissionsEndpoint,
  updateTeamPermissionsEndpoint,
  resetMemberSpendEndpoint,
  teamInfoEndpoint,
  updateMemberEndpoint,
  patchTeamEndpoint,
  updateTeamEndpoint,
  addOrganizationMemberEndpoint,
  deleteOrganizationMemberEndpoint,
  updateOrganizationMemberEndpoint,
  deleteOrganizationsEndpoint,
  newOrganizationEndpoint,
  listOrganizationsEndpoint,
  organizationInfoEndpoint,
  organizationInfosEndpoint,
  updateOrganizationEndpoint,
  budgetInfoEndpoint,
  budgetSettingsEndpoint,
  deleteBudgetEndpoint,
  listBudgetsEndpoint,
  newBudgetEndpoint,
  updateBudgetEndpoint,
  ...blockCustomersEndpoints,
  ...unblockCustomersEndpoints,
  ...deleteCustomersEndpoints,
  ...newCustomerEndpoints,
  ...customerInfoEndpoints,
  ...listCustomersEndpoints,
  ...updateCustomerEndpoints,
  deleteTagEndpoint,
  newTagEndpoint,
  listTagsEndpoint,
  tagInfoEndpoint,
  updateTagEndpoint,
];
