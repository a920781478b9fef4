-- Accounts: users, teams with members, organizations with members, budgets, customers and tags.
--
-- Why:      budgets, limits, blocks and rights belong to more than keys. Each object has its row and its own revision, and every change of one is
--           an entry of change_log like that of a key. Answers are lists with filters, which is what the indexes are for.
-- Breaking: no. Programs of older schemas neither read nor write what is new.
-- Locks:    only on objects that it creates, and SHARE on virtual_key while an index on it is built.
-- Duration: milliseconds, and about a second per million keys.

create table claviger.internal_user (
  id bigint generated always as identity primary key,
  user_id text not null unique,
  object_rev bigint not null default 1,
  user_alias text,
  user_email text,
  user_role text check (user_role in ('proxy_admin', 'proxy_admin_viewer', 'internal_user', 'internal_user_viewer')),
  sso_user_id text,
  organization_id text,
  models text[] not null,
  max_budget double precision,
  soft_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  budget_limits jsonb,
  model_max_budget jsonb not null,
  max_parallel_requests bigint,
  rpm_limit bigint,
  tpm_limit bigint,
  allowed_cache_controls text[] not null,
  policies text[] not null,
  object_permission jsonb,
  metadata jsonb not null,
  blocked boolean not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text,
  -- scrypt, with its salt. Not part of the object: neither answers nor the change log hold it.
  password_hash text
);

create unique index internal_user_email on claviger.internal_user (lower(user_email)) where user_email is not null;
create unique index internal_user_sso on claviger.internal_user (sso_user_id) where sso_user_id is not null;
create index internal_user_created on claviger.internal_user (created_at, id);
create index internal_user_organization on claviger.internal_user (organization_id) where organization_id is not null;

create table claviger.team (
  id bigint generated always as identity primary key,
  team_id text not null unique,
  object_rev bigint not null default 1,
  team_alias text,
  organization_id text,
  models text[] not null,
  model_aliases jsonb not null,
  max_budget double precision,
  soft_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  budget_limits jsonb,
  model_max_budget jsonb not null,
  max_parallel_requests bigint,
  rpm_limit bigint,
  tpm_limit bigint,
  blocked boolean not null,
  team_member_permissions text[] not null,
  default_team_member_models text[] not null,
  router_settings jsonb,
  access_group_ids text[] not null,
  policies text[] not null,
  object_permission jsonb,
  metadata jsonb not null,
  allowed_regions text[] not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index team_created on claviger.team (created_at, id);
create index team_alias on claviger.team (team_alias);
create index team_organization on claviger.team (organization_id) where organization_id is not null;

-- A deleted team, as it was; its keys are in deleted_virtual_key.
create table claviger.deleted_team (
  id bigint generated always as identity primary key,
  team_id text not null,
  organization_id text,
  team_alias text,
  team jsonb not null,
  members jsonb not null,
  spend_nano bigint not null,
  deleted_at timestamptz not null,
  deleted_by text,
  deleted_by_api_key text,
  litellm_changed_by text
);

create index deleted_team_time on claviger.deleted_team (deleted_at, id);

create table claviger.team_member (
  id bigint generated always as identity primary key,
  -- One text of the two ids, as the change log and the feed name a member.
  member_id text not null unique,
  object_rev bigint not null default 1,
  team_id text not null,
  user_id text not null,
  user_email text,
  role text not null check (role in ('admin', 'user')),
  max_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  rpm_limit bigint,
  tpm_limit bigint,
  models text[] not null,
  budget_id text,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text,
  unique (team_id, user_id)
);

create index team_member_user on claviger.team_member (user_id);
create index team_member_budget on claviger.team_member (budget_id) where budget_id is not null;

create table claviger.organization (
  id bigint generated always as identity primary key,
  organization_id text not null unique,
  object_rev bigint not null default 1,
  organization_alias text not null,
  budget_id text not null,
  models text[] not null,
  blocked boolean not null,
  object_permission jsonb,
  metadata jsonb not null,
  allowed_regions text[] not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index organization_created on claviger.organization (created_at, id);
create index organization_budget on claviger.organization (budget_id);

create table claviger.organization_member (
  id bigint generated always as identity primary key,
  member_id text not null unique,
  object_rev bigint not null default 1,
  organization_id text not null,
  user_id text not null,
  user_role text not null check (user_role in ('org_admin', 'internal_user', 'internal_user_viewer')),
  budget_id text,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (organization_id, user_id)
);

create index organization_member_user on claviger.organization_member (user_id);
create index organization_member_budget on claviger.organization_member (budget_id) where budget_id is not null;

create table claviger.budget (
  id bigint generated always as identity primary key,
  budget_id text not null unique,
  object_rev bigint not null default 1,
  max_budget double precision,
  soft_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  budget_limits jsonb,
  model_max_budget jsonb not null,
  max_parallel_requests bigint,
  rpm_limit bigint,
  tpm_limit bigint,
  allowed_models text[] not null,
  metadata jsonb not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index budget_created on claviger.budget (created_at, id);

create table claviger.customer (
  id bigint generated always as identity primary key,
  user_id text not null unique,
  object_rev bigint not null default 1,
  alias text,
  blocked boolean not null,
  allowed_model_region text,
  default_model text,
  budget_id text,
  object_permission jsonb,
  metadata jsonb not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index customer_created on claviger.customer (created_at, id);
create index customer_blocked on claviger.customer (user_id) where blocked;
create index customer_budget on claviger.customer (budget_id) where budget_id is not null;

create table claviger.tag (
  id bigint generated always as identity primary key,
  name text not null unique,
  object_rev bigint not null default 1,
  description text,
  models text[] not null,
  model_info jsonb,
  budget_id text,
  metadata jsonb not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index tag_created on claviger.tag (created_at, id);
create index tag_budget on claviger.tag (budget_id) where budget_id is not null;

-- Counters live apart from what is configured: spend never makes a revision. `kind` and `id` are those of the change log.
create table claviger.account_spend (
  kind text not null,
  id text not null,
  spend_nano bigint not null,
  primary key (kind, id)
);

-- What is deleted with an organization.
create index virtual_key_organization on claviger.virtual_key (organization_id) where organization_id is not null;

-- Which keys and teams take terms from a budget object.
create index virtual_key_budget on claviger.virtual_key (budget_id) where budget_id is not null;
create index team_member_budget_of_team on claviger.team ((metadata ->> 'team_member_budget_id')) where metadata ->> 'team_member_budget_id' is not null;
