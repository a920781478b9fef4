export const TEAM_ROLES = ['admin', 'user'] as const;
export type TeamRole = (typeof TEAM_ROLES)[number];

/** That somebody is in a team, and what it may use there. Money is dollars as given. */
export interface TeamMember {
  readonly team_id: string;
  readonly user_id: string;
  readonly user_email: string | null;
  readonly role: TeamRole;
  /** `max_budget_in_team` of requests. */
  readonly max_budget: number | null;
  readonly budget_duration: string | null;
  readonly budget_reset_at: string | null;
  readonly rpm_limit: number | null;
  readonly tpm_limit: number | null;
  /** `allowed_models` of requests; empty: all that the team may use. */
  readonly models: readonly string[];
  /** Budget object that fills in what is not set here: its own, or the one of all members of the team. */
  readonly budget_id: string | null;
  readonly created_at: string;
  readonly created_by: string | null;
  readonly updated_at: string;
  readonly updated_by: string | null;
}
