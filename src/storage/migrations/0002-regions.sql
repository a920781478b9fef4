-- Regions: models of the whole fleet, the fleet itself, and what makes knowledge provably fresh.
--
-- Why:      workers in many regions share this database, or reach it through an admin only. What they all serve lives here, and so does
--           what is known about them.
-- Breaking: no. Programs of schema 1 neither read nor write what is new.
-- Locks:    ACCESS EXCLUSIVE on installation, virtual_key and deleted_virtual_key while columns with constant defaults are added: no rewrite.
-- Duration: milliseconds.

-- Ed25519 pair that signs what travels in the feed. Null until a program of schema 2 has opened the database.
alter table claviger.installation
  add column signing_key_sealed text,
  add column signing_public_key text;

-- Regions in which a key may be used (empty: all), and how old the knowledge may be that it is admitted by.
alter table claviger.virtual_key
  add column allowed_regions text[] not null default '{}',
  add column fence text not null default 'normal' check (fence in ('normal', 'strict'));
alter table claviger.deleted_virtual_key
  add column allowed_regions text[] not null default '{}',
  add column fence text not null default 'normal';

-- A `model_list` entry for the whole fleet. Secrets in litellm_params are sealed.
create table claviger.model (
  id bigint generated always as identity primary key,
  model_id text not null unique,
  object_rev bigint not null default 1,
  model_name text not null,
  litellm_params jsonb not null,
  model_info jsonb not null,
  created_at timestamptz not null,
  created_by text,
  updated_at timestamptz not null,
  updated_by text
);

create index model_name on claviger.model (model_name);

-- Control processes that write here now. The write and the read of the revision in its transaction are the witness that knowledge is
-- measured by: a database that was cut off from its successor can not commit it.
create table claviger.control_heartbeat (
  control_id text primary key,
  instance_id text not null,
  role text not null,
  region text not null,
  version text not null,
  beat bigint not null,
  at timestamptz not null default now()
);

-- One row per gateway process of the fleet, as its control process last heard it. State is computed from the age of heard_at, never
-- from a word in here.
create table claviger.gateway (
  gateway_id text primary key,
  instance_id text not null,
  session text not null,
  region text not null,
  role text not null,
  version text not null,
  protocol integer not null,
  public_url text,
  -- How it reaches the control plane: with a credential of the database, or enrolled.
  joined boolean not null default false,
  started_at timestamptz,
  -- Applied and on disk.
  epoch integer not null,
  rev bigint not null,
  applied_at timestamptz not null,
  -- Database time of the newest witness that it has confirmed; null: none yet.
  witness_at timestamptz,
  stats jsonb not null,
  reported_by text not null,
  heard_at timestamptz not null,
  -- Said goodbye (drained), or lost its connection without a word.
  left_at timestamptz,
  left_reason text,
  -- What an operator asked of it: drain or resync, and when. Cleared when it was delivered.
  command text,
  command_at timestamptz
);

create index gateway_instance on claviger.gateway (instance_id);
create index gateway_heard on claviger.gateway (heard_at);
create index gateway_command on claviger.gateway (reported_by) where command is not null;

-- When each gateway process had applied what: revisions from_rev + 1 to to_rev.
create table claviger.change_delivery (
  gateway_id text not null,
  epoch integer not null,
  to_rev bigint not null,
  from_rev bigint not null,
  applied_at timestamptz not null,
  primary key (gateway_id, epoch, to_rev)
);

create index change_delivery_rev on claviger.change_delivery (epoch, to_rev);
create index change_delivery_time on claviger.change_delivery (applied_at);

-- Tokens that let one worker join, once. Stored as SHA-256.
create table claviger.join_token (
  id bigint generated always as identity primary key,
  token_hash text not null unique,
  region text not null,
  role text not null,
  created_at timestamptz not null default now(),
  created_by text,
  expires_at timestamptz not null,
  used_at timestamptz,
  used_by text
);

-- Instances that joined without a credential of the database. Their requests are signed with the private half of public_key.
create table claviger.enrolled_instance (
  instance_id text primary key,
  region text not null,
  role text not null,
  -- Ed25519, SPKI in base64.
  public_key text not null,
  -- Offered at a renewal; takes the place of public_key with the first request that it signs.
  next_public_key text,
  -- Key that secrets for this instance are sealed with, itself sealed.
  sealing_key_sealed text not null,
  enrolled_at timestamptz not null default now(),
  renewed_at timestamptz not null default now(),
  -- An expired credential may still renew for 30 days; a revoked one is refused at once.
  expires_at timestamptz not null,
  revoked_at timestamptz,
  revoked_by text
);
