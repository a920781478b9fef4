-- First light: keys, the revision row with its change log, and usage.
--
-- Why:      the first schema. Every management write is one revision: the single row of claviger.installation is updated last in its
--           transaction, so that commit order is revision order without gaps, and its audit head chains the entries of change_log.
-- Breaking: no (nothing exists before it).
-- Locks:    only on objects that it creates.
-- Duration: milliseconds.

-- One row. The history of a database is (installation_id, epoch, rev).
create table claviger.installation (
  id smallint primary key default 1 check (id = 1),
  installation_id uuid not null,
  epoch integer not null default 1,
  rev bigint not null default 0,
  -- Head of the hash chain over change_log.
  audit_head bytea not null,
  -- Secret of the check in generated keys, sealed. It authorises nothing.
  fleet_key_sealed text not null,
  created_at timestamptz not null default now()
);

-- What changed, by whom: the feed to the gateway processes and the audit log at once.
create table claviger.change_log (
  epoch integer not null,
  rev bigint not null,
  kind text not null,
  object_id text not null,
  -- The object's own revision: 1 when it is created, one more with each change.
  object_rev bigint not null,
  op text not null,
  -- Secrets inside are sealed and carry a fingerprint, so that a change of secret shows without showing the secret.
  before jsonb,
  after jsonb,
  actor text not null,
  actor_key text,
  changed_by text,
  request_id text not null,
  lane text not null check (lane in ('fast', 'guarded')),
  at timestamptz not null,
  hash bytea not null,
  primary key (epoch, rev)
);

create index change_log_object on claviger.change_log (kind, object_id, object_rev);

-- Digest of one entry. One function for writing and for verifying, and everything goes through jsonb, whose text form is canonical:
-- what is hashed is what a reader of the table gets back.
create function claviger.change_digest(
  kind text, object_id text, object_rev bigint, op text, before jsonb, after jsonb, actor text, actor_key text, changed_by text,
  request_id text, lane text, at timestamptz
) returns bytea
language sql stable parallel safe
as $$
  select sha256(convert_to(jsonb_build_array(
    kind, object_id, object_rev, op, before, after, actor, actor_key, changed_by, request_id, lane,
    (extract(epoch from at) * 1000000)::bigint
  )::text, 'UTF8'))
$$;

create table claviger.virtual_key (
  -- Never leaves the database.
  id bigint generated always as identity primary key,
  token text not null unique check (token ~ '^[0-9a-f]{64}$'),
  object_rev bigint not null default 1,
  key_name text not null,
  key_alias text,
  expires timestamptz,
  models text[] not null,
  aliases jsonb not null,
  config jsonb not null,
  user_id text,
  team_id text,
  organization_id text,
  project_id text,
  agent_id text,
  max_budget double precision,
  soft_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  budget_id text,
  budget_limits jsonb,
  model_max_budget jsonb not null,
  budget_fallbacks jsonb,
  max_parallel_requests bigint,
  rpm_limit bigint,
  tpm_limit bigint,
  permissions jsonb not null,
  allowed_routes text[] not null,
  allowed_cache_controls text[] not null,
  policies text[] not null,
  access_group_ids text[] not null,
  object_permission jsonb,
  router_settings jsonb,
  metadata jsonb not null,
  blocked boolean not null,
  auto_rotate boolean not null,
  rotation_interval text,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create unique index virtual_key_alias on claviger.virtual_key (key_alias) where key_alias is not null;
create index virtual_key_owner on claviger.virtual_key (user_id, team_id);
create index virtual_key_team on claviger.virtual_key (team_id);
create index virtual_key_created on claviger.virtual_key (created_at, id);

-- A deleted key, as it was. A custom key may be created and deleted more than once, so the token is not unique.
create table claviger.deleted_virtual_key (
  id bigint generated always as identity primary key,
  token text not null,
  object_rev bigint not null,
  key_name text not null,
  key_alias text,
  expires timestamptz,
  models text[] not null,
  aliases jsonb not null,
  config jsonb not null,
  user_id text,
  team_id text,
  organization_id text,
  project_id text,
  agent_id text,
  max_budget double precision,
  soft_budget double precision,
  budget_duration text,
  budget_reset_at timestamptz,
  budget_id text,
  budget_limits jsonb,
  model_max_budget jsonb not null,
  budget_fallbacks jsonb,
  max_parallel_requests bigint,
  rpm_limit bigint,
  tpm_limit bigint,
  permissions jsonb not null,
  allowed_routes text[] not null,
  allowed_cache_controls text[] not null,
  policies text[] not null,
  access_group_ids text[] not null,
  object_permission jsonb,
  router_settings jsonb,
  metadata jsonb not null,
  blocked boolean not null,
  auto_rotate boolean not null,
  rotation_interval text,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text,
  spend_nano bigint not null,
  deleted_at timestamptz not null,
  deleted_by text,
  deleted_by_api_key text,
  litellm_changed_by text
);

create index deleted_virtual_key_token on claviger.deleted_virtual_key (token);
create index deleted_virtual_key_time on claviger.deleted_virtual_key (deleted_at);

-- Counters live apart from what is configured: spend never makes a revision.
create table claviger.key_spend (
  token text primary key,
  spend_nano bigint not null
);

-- How far the usage log of each gateway process has been ingested.
create table claviger.usage_cursor (
  gateway_id text not null,
  incarnation text not null,
  seq bigint not null,
  updated_at timestamptz not null default now(),
  primary key (gateway_id, incarnation)
);

-- One row per attempt at a provider.
create table claviger.spend_log (
  request_id text primary key,
  call_id text not null,
  provider_id text,
  session_id text,
  call_type text not null,
  route text not null,
  status text not null,
  http_status integer not null,
  error_code text,
  token text not null,
  key_alias text,
  user_id text,
  team_id text,
  organization_id text,
  end_user text,
  model_group text not null,
  model text not null,
  model_id text not null,
  answered_model text,
  provider text not null,
  api_base text not null,
  stream boolean not null,
  tags jsonb not null,
  client_ip text,
  started_at timestamptz not null,
  first_token_at timestamptz,
  ended_at timestamptz not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  total_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  reasoning_tokens bigint not null,
  audio_input_tokens bigint not null,
  audio_output_tokens bigint not null,
  -- The counts are ours, not the provider's.
  estimated boolean not null,
  cost_nano bigint not null,
  region text not null,
  gateway_id text not null,
  incarnation text not null,
  seq bigint not null
);

create index spend_log_call on claviger.spend_log (call_id);
create index spend_log_provider on claviger.spend_log (provider_id) where provider_id is not null;
create index spend_log_session on claviger.spend_log (session_id) where session_id is not null;
create index spend_log_started on claviger.spend_log (started_at, request_id);
create index spend_log_token on claviger.spend_log (token, started_at);
create index spend_log_user on claviger.spend_log (user_id, started_at) where user_id is not null;

-- Sums per UTC day. `series` is a digest of the dimensions: model names come from clients and may be longer than an index entry.
create table claviger.daily_spend (
  date date not null,
  series bytea not null,
  token text not null,
  user_id text,
  team_id text,
  model text not null,
  model_group text not null,
  provider text not null,
  region text not null,
  spend_nano bigint not null,
  prompt_tokens bigint not null,
  completion_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  requests bigint not null,
  successful_requests bigint not null,
  failed_requests bigint not null,
  primary key (date, series)
);

create index daily_spend_token on claviger.daily_spend (token, date);

-- Records that could not become rows, kept as text exactly as they came. The cursor moves past them; nothing blocks, nothing is lost.
create table claviger.usage_dead_letter (
  id bigint generated always as identity primary key,
  gateway_id text not null,
  incarnation text not null,
  region text not null,
  from_seq bigint not null,
  to_seq bigint not null,
  record text not null,
  reason text not null,
  at timestamptz not null default now()
);
