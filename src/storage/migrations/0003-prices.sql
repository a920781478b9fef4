-- Prices: what a cost is made of, what the provider and our prices say that it is, and when price lists are read again.
--
-- Why:      a cost must be explained to the nano-dollar, and a cost that a provider reports wins over our formula although both are kept.
-- Breaking: no. Programs of older schemas neither read nor write what is new.
-- Locks:    ACCESS EXCLUSIVE on spend_log while columns without defaults are added: no rewrite.
-- Duration: milliseconds.

-- Null: nothing beyond plain tokens; the provider reports no cost; no price is known; there is nothing but input and output.
alter table claviger.spend_log
  add column usage_extras jsonb,
  add column provider_cost_nano bigint,
  add column formula_cost_nano bigint,
  add column cost_breakdown jsonb;

-- One row: every so many hours all instances read their price lists again.
create table claviger.price_list_schedule (
  id integer primary key check (id = 1),
  hours double precision not null check (hours > 0),
  set_at timestamptz not null default now(),
  set_by text,
  last_at timestamptz not null default now()
);
