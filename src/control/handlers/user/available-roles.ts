import { availableRolesRoute } from '../../../contract/routes/users.ts';
import type { UserRole } from '../../../domain/internal-user.ts';
import { endpoint } from '../handler.ts';

export const availableRolesEndpoint = endpoint(availableRolesRoute, async () => ({ json: ROLES }));

const ROLES: Readonly<Record<UserRole, { readonly description: string; readonly ui_label: string }>> = {
  proxy_admin: {
    description: 'Administers everything: keys, users, teams, models and settings.',
    ui_label: 'Admin (All Permissions)',
  },
  proxy_admin_viewer: { description: 'Sees everything and changes nothing.', ui_label: 'Admin (View Only)' },
  internal_user: { description: 'Has keys of its own and sees what they spend.', ui_label: 'Internal User' },
  internal_user_viewer: { description: 'Sees its own keys and what they spend.', ui_label: 'Internal Viewer' },
};
