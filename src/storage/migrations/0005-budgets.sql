-- Budgets: what may be spent, what has been, and what gateway processes hold of it. docs/specs/budget-leases.md.
--
-- Why:      a budget is escrow. What a gateway process may spend has been taken off its ledger before, in one transaction under the lock of the
--           ledger's row, so that no order of messages and no number of processes can spend it twice.
-- Breaking: no. Programs of older schemas ingest usage without moving escrow; what they ingest meanwhile counts as escrow until the period ends.
-- Locks:    ACCESS EXCLUSIVE on installation for a moment; ACCESS SHARE on virtual_key while the terms of existing keys are taken over.
-- Duration: about a second per 100,000 keys with a budget.

-- When the epoch began: a restored database grants nothing before gateway processes had time to say what they hold.
alter table claviger.installation add column epoch_at timestamptz not null default now();

-- Terms of budgets by ledger, derived from keys and accounts in the transaction that writes these.
create table claviger.budget_terms (
  ledger text primary key,
  -- Whom it belongs to: the ledger id of its plain budget.
  payer text not null,
  -- '' (plain), window:<duration> or model:<name>
  slot text not null,
  max_nano bigint not null check (max_nano >= 0),
  -- A temporary increase, until a moment.
  extra_nano bigint not null default 0,
  extra_until timestamptz,
  -- Null: never reset.
  duration text,
  -- A reset moment that periods of several days are counted from, milliseconds since the epoch.
  reset_anchor_ms bigint not null default 0,
  -- Null: calls to all models.
  models text[]
);

create index budget_terms_payer on claviger.budget_terms (payer);

insert into claviger.budget_terms (ledger, payer, slot, max_nano, duration, reset_anchor_ms)
select 'key:' || token, 'key:' || token, '', round(max_budget::numeric * 1000000000)::bigint, budget_duration,
       coalesce((extract(epoch from budget_reset_at) * 1000)::bigint, 0)
  from claviger.virtual_key
 where max_budget is not null and max_budget <= 9000000000;

-- One row per ledger and period. A budget that is never reset has the period that starts with the epoch.
create table claviger.budget_ledger (
  ledger text not null,
  period_start timestamptz not null,
  period_end timestamptz not null,
  payer text not null,
  slot text not null,
  models text[],
  settled_nano bigint not null default 0,
  -- The sum over its pots of what they hold and have not settled.
  escrow_nano bigint not null default 0,
  calls bigint not null default 0,
  last_spend_at timestamptz,
  primary key (ledger, period_start)
);

create index budget_ledger_payer on claviger.budget_ledger (payer, period_end);
create index budget_ledger_spent on claviger.budget_ledger (last_spend_at) where last_spend_at is not null;

-- What one gateway process (one incarnation of its usage log) holds of a ledger in a period.
create table claviger.budget_pot (
  ledger text not null,
  period_start timestamptz not null,
  gateway_id text not null,
  incarnation text not null,
  -- Granted and not returned.
  amount_nano bigint not null default 0,
  settled_nano bigint not null default 0,
  -- Somebody else needs it; told with the next reply.
  recalled boolean not null default false,
  -- Written off or released by an operator, and whether the process has been told.
  closed_at timestamptz,
  closed_told boolean not null default true,
  primary key (ledger, period_start, gateway_id, incarnation),
  foreign key (ledger, period_start) references claviger.budget_ledger on delete cascade
);

create index budget_pot_gateway on claviger.budget_pot (gateway_id, incarnation);

-- How far the asks of each gateway process have been applied, and what the last one was answered.
create table claviger.lease_cursor (
  gateway_id text not null,
  incarnation text not null,
  ask bigint not null,
  reply jsonb,
  updated_at timestamptz not null default now(),
  primary key (gateway_id, incarnation)
);

-- What a payer has spent since its counter was last reset, budget or not: a ledger begins with it.
create function claviger.spent_by_payer(p_payer text) returns bigint
language sql stable
as $$
  select coalesce(
    case split_part(p_payer, ':', 1)
      when 'key' then (select spend_nano from claviger.key_spend where token = substr(p_payer, 5))
      else (
        select spend_nano from claviger.account_spend
         where kind = split_part(p_payer, ':', 1)
           and id = replace(replace(substr(p_payer, strpos(p_payer, ':') + 1), '%23', '#'), '%25', '%'))
    end, 0)
$$;

-- How much of a ledger is granted; null when it is refused. The same as decideGrant in src/control/money/decide-grant.ts.
create function claviger.grant_size(
  p_need bigint, p_want bigint, p_rate_per_minute bigint, p_offline bigint, p_max bigint, p_settled bigint, p_escrow bigint
) returns bigint
language sql immutable parallel safe
as $$
  select case
    when p_max - p_settled - p_escrow <= 0 or p_max - p_settled - p_escrow < p_need then null
    else least(
      p_want,
      p_max - p_settled - p_escrow,
      -- Halves of what is free: the end of a budget is fine-grained.
      greatest(p_need, (p_max - p_settled - p_escrow) / 2),
      greatest(p_need, p_offline, least(p_rate_per_minute, p_max / 20)))
  end
$$;

-- One ask of a gateway process, in one round trip: exactly once by its number, and all of it or nothing.
--
-- p_wishes:   {ledger, template, payer, slot, models, duration, periodStartMs, periodEndMs, needNano, wantNano, ratePerMinuteNano, offlineNano,
--              termsMaxNano, averageNano}; averageNano is set on starter leases only
-- p_returns:  {ledger, periodStartMs, amountNano}
-- p_declares: the same for all pots of the process, or null
create function claviger.take_lease_ask(
  p_gateway_id text, p_incarnation text, p_ask bigint, p_wishes jsonb, p_returns jsonb, p_declares jsonb
) returns jsonb
language plpgsql
as $$
declare
  standing claviger.lease_cursor%rowtype;
  item record;
  pot claviger.budget_pot%rowtype;
  ledger_row claviger.budget_ledger%rowtype;
  terms claviger.budget_terms%rowtype;
  lowered bigint;
  learning boolean;
  max_nano bigint;
  granted bigint;
  refusal text;
  grants jsonb := '[]';
  recalled jsonb;
  closed jsonb;
  result jsonb;
begin
  insert into claviger.lease_cursor (gateway_id, incarnation, ask) values (p_gateway_id, p_incarnation, 0)
  on conflict do nothing;
  select * into standing from claviger.lease_cursor
   where gateway_id = p_gateway_id and incarnation = p_incarnation for update;
  if standing.ask = p_ask and standing.reply is not null then
    return standing.reply;
  end if;
  if standing.ask <> p_ask - 1 then
    return jsonb_build_object('ok', false, 'cursor', standing.ask, 'declare', true);
  end if;

  -- After a database was restored, processes first say what they hold.
  select i.epoch > 1 and now() - i.epoch_at < interval '30 seconds' into learning from claviger.installation i;

  -- Terms that are configured in files are known from the processes that read these.
  insert into claviger.budget_terms (ledger, payer, slot, max_nano, duration, models)
  select distinct on (w.ledger) w.ledger, w.payer, w.slot, w."termsMaxNano", w.duration, w.models
    from jsonb_to_recordset(p_wishes) as w (
      ledger text, payer text, slot text, "termsMaxNano" bigint, duration text, models text[])
   where w."termsMaxNano" is not null
   order by w.ledger
  on conflict (ledger) do update set max_nano = excluded.max_nano, duration = excluded.duration;

  -- Rows of ledgers that are wished for the first time in this period, and then all locks in one order.
  insert into claviger.budget_ledger (ledger, period_start, period_end, payer, slot, models, settled_nano)
  select distinct on (w.ledger, w."periodStartMs")
         w.ledger, to_timestamp(w."periodStartMs" / 1000.0),
         case when w."periodEndMs" is null then 'infinity' else to_timestamp(w."periodEndMs" / 1000.0) end,
         w.payer, w.slot, t.models,
         case when w.slot = '' and not exists (select from claviger.budget_ledger l where l.ledger = w.ledger)
              then claviger.spent_by_payer(w.payer) else 0 end
    from jsonb_to_recordset(p_wishes) as w (
           ledger text, template text, payer text, slot text, "periodStartMs" bigint, "periodEndMs" bigint)
    join claviger.budget_terms t on t.ledger = w.ledger
      or (t.ledger = w.template and not exists (select from claviger.budget_terms o where o.ledger = w.ledger))
   order by w.ledger, w."periodStartMs"
  on conflict (ledger, period_start) do nothing;

  if p_declares is not null then
    insert into claviger.budget_ledger (ledger, period_start, period_end, payer, slot)
    select d.ledger, to_timestamp(d."periodStartMs" / 1000.0),
           case when d."periodStartMs" = 0 then 'infinity' else now() end, split_part(d.ledger, '#', 1), split_part(d.ledger, '#', 2)
      from jsonb_to_recordset(p_declares) as d (ledger text, "periodStartMs" bigint)
     order by d.ledger, d."periodStartMs"
    on conflict (ledger, period_start) do nothing;
  end if;

  perform from claviger.budget_ledger l
   where (l.ledger, l.period_start) in (
     select i.ledger, to_timestamp(i."periodStartMs" / 1000.0)
       from jsonb_to_recordset(p_wishes || p_returns || coalesce(p_declares, '[]')) as i (ledger text, "periodStartMs" bigint))
     or (p_declares is not null and (l.ledger, l.period_start) in (
       select p.ledger, p.period_start from claviger.budget_pot p
        where p.gateway_id = p_gateway_id and p.incarnation = p_incarnation))
   order by l.ledger, l.period_start
     for update of l;

  if p_declares is not null then
    insert into claviger.budget_pot (ledger, period_start, gateway_id, incarnation)
    select d.ledger, to_timestamp(d."periodStartMs" / 1000.0), p_gateway_id, p_incarnation
      from jsonb_to_recordset(p_declares) as d (ledger text, "periodStartMs" bigint)
    on conflict do nothing;
    -- What is not declared is not held.
    for pot in
      select * from claviger.budget_pot p where p.gateway_id = p_gateway_id and p.incarnation = p_incarnation
    loop
      select greatest(coalesce(max(d."amountNano"), 0), pot.settled_nano) into lowered
        from jsonb_to_recordset(p_declares) as d (ledger text, "periodStartMs" bigint, "amountNano" bigint)
       where d.ledger = pot.ledger and to_timestamp(d."periodStartMs" / 1000.0) = pot.period_start;
      perform claviger.set_pot_amount(pot, lowered);
    end loop;
  end if;

  for item in
    select r.ledger, to_timestamp(r."periodStartMs" / 1000.0) as period_start, r."amountNano" as amount_nano
      from jsonb_to_recordset(p_returns) as r (ledger text, "periodStartMs" bigint, "amountNano" bigint)
  loop
    select * into pot from claviger.budget_pot p
     where p.ledger = item.ledger and p.period_start = item.period_start
       and p.gateway_id = p_gateway_id and p.incarnation = p_incarnation;
    -- Only decreases: an old or a wrong message can not give anybody more.
    if found and item.amount_nano < pot.amount_nano then
      perform claviger.set_pot_amount(pot, item.amount_nano);
    end if;
  end loop;

  for item in
    select w.*, to_timestamp(w."periodStartMs" / 1000.0) as period_start
      from jsonb_to_recordset(p_wishes) as w (
        ledger text, template text, duration text, "periodStartMs" bigint, "periodEndMs" bigint, "needNano" bigint, "wantNano" bigint,
        "ratePerMinuteNano" bigint, "offlineNano" bigint, "averageNano" bigint)
  loop
    granted := null;
    refusal := null;
    max_nano := 0;
    select * into terms from claviger.budget_terms t where t.ledger = item.ledger;
    if not found then
      select * into terms from claviger.budget_terms t where t.ledger = item.template;
    end if;
    select * into ledger_row from claviger.budget_ledger l
     where l.ledger = item.ledger and l.period_start = item.period_start;
    if terms.ledger is null or ledger_row.ledger is null then
      refusal := 'unknown';
    elsif terms.duration is distinct from item.duration then
      refusal := 'terms';
    else
      max_nano := terms.max_nano + case when terms.extra_until > now() then terms.extra_nano else 0 end;
      if learning then
        refusal := 'learning';
      elsif item."averageNano" is not null then
        granted := least((max_nano - ledger_row.settled_nano - ledger_row.escrow_nano) / 1000, item."wantNano");
        if granted < item."averageNano" or granted <= 0 then
          granted := null;
          refusal := 'short';
        end if;
      else
        granted := claviger.grant_size(item."needNano", item."wantNano", item."ratePerMinuteNano", item."offlineNano", max_nano,
                                       ledger_row.settled_nano, ledger_row.escrow_nano);
        if granted is null then
          refusal := case when ledger_row.settled_nano >= max_nano then 'spent' else 'short' end;
          if refusal = 'short' then
            update claviger.budget_pot p set recalled = true
             where p.ledger = item.ledger and p.period_start = item.period_start and p.amount_nano > p.settled_nano
               and (p.gateway_id, p.incarnation) <> (p_gateway_id, p_incarnation);
          end if;
        end if;
      end if;
    end if;
    if granted is not null then
      insert into claviger.budget_pot (ledger, period_start, gateway_id, incarnation)
      values (item.ledger, item.period_start, p_gateway_id, p_incarnation)
      on conflict do nothing;
      select * into pot from claviger.budget_pot p
       where p.ledger = item.ledger and p.period_start = item.period_start
         and p.gateway_id = p_gateway_id and p.incarnation = p_incarnation;
      perform claviger.set_pot_amount(pot, pot.amount_nano + granted);
    end if;
    grants := grants || jsonb_build_object(
      'ledger', item.ledger, 'periodStartMs', item."periodStartMs", 'periodEndMs', item."periodEndMs",
      'grantedNano', coalesce(granted, 0)::text, 'refusal', refusal,
      'maxNano', max_nano::text, 'settledNano', coalesce(ledger_row.settled_nano, 0)::text);
  end loop;

  with told as (
    update claviger.budget_pot p set recalled = false
     where p.gateway_id = p_gateway_id and p.incarnation = p_incarnation and p.recalled
    returning p.ledger, p.period_start
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'ledger', ledger, 'periodStartMs', (extract(epoch from period_start) * 1000)::bigint)), '[]')
    into recalled from told;
  with told as (
    update claviger.budget_pot p set closed_told = true
     where p.gateway_id = p_gateway_id and p.incarnation = p_incarnation and not p.closed_told
    returning p.ledger, p.period_start
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'ledger', ledger, 'periodStartMs', (extract(epoch from period_start) * 1000)::bigint)), '[]')
    into closed from told;

  result := jsonb_build_object('ok', true, 'ask', p_ask, 'grants', grants, 'recalled', recalled, 'closed', closed);
  update claviger.lease_cursor set ask = p_ask, reply = result, updated_at = now()
   where gateway_id = p_gateway_id and incarnation = p_incarnation;
  return result;
end
$$;

-- Sets what a pot holds, and the escrow of its ledger with it. The ledger's row is locked by the caller.
create function claviger.set_pot_amount(p_pot claviger.budget_pot, p_amount bigint) returns void
language sql
as $$
  update claviger.budget_ledger l
     set escrow_nano = l.escrow_nano + greatest(0, p_amount - p_pot.settled_nano) - greatest(0, p_pot.amount_nano - p_pot.settled_nano)
   where l.ledger = p_pot.ledger and l.period_start = p_pot.period_start;
  update claviger.budget_pot p set amount_nano = p_amount
   where p.ledger = p_pot.ledger and p.period_start = p_pot.period_start
     and p.gateway_id = p_pot.gateway_id and p.incarnation = p_pot.incarnation
$$;

-- Spend moves from escrow to settled. One row per ledger and period: what the records of a stretch of a usage log cost, of which p_leased was
-- paid from the pot of their gateway process.
create function claviger.settle_charges(
  p_gateway_id text, p_incarnation text, p_ledgers text[], p_starts timestamptz[], p_costs bigint[], p_leased bigint[], p_calls bigint[]
) returns void
language plpgsql
as $$
begin
  perform from claviger.budget_ledger l
    join unnest(p_ledgers, p_starts) as c (ledger, period_start) using (ledger, period_start)
   order by l.ledger, l.period_start
     for update of l;
  with charge as (
    select * from unnest(p_ledgers, p_starts, p_costs, p_leased, p_calls) as c (ledger, period_start, cost_nano, leased_nano, calls)
  ), pot as (
    update claviger.budget_pot p set settled_nano = p.settled_nano + c.leased_nano
      from charge c
     where p.ledger = c.ledger and p.period_start = c.period_start and c.leased_nano > 0
       and p.gateway_id = p_gateway_id and p.incarnation = p_incarnation
    returning p.ledger, p.period_start,
              greatest(0, p.amount_nano - p.settled_nano + c.leased_nano) - greatest(0, p.amount_nano - p.settled_nano) as freed_nano
  )
  update claviger.budget_ledger l
     set settled_nano = l.settled_nano + c.cost_nano,
         escrow_nano = l.escrow_nano - coalesce(p.freed_nano, 0),
         calls = l.calls + c.calls,
         last_spend_at = case when c.cost_nano > 0 then now() else l.last_spend_at end
    from charge c left join pot p using (ledger, period_start)
   where l.ledger = c.ledger and l.period_start = c.period_start;
end
$$;

-- Takes what a pot still holds from its process: written off (it counts as spent) or released (it can be granted again).
create function claviger.close_pot(p_ledger text, p_period_start timestamptz, p_gateway_id text, p_incarnation text, p_write_off boolean)
returns bigint
language plpgsql
as $$
declare
  pot claviger.budget_pot%rowtype;
  held_nano bigint;
begin
  perform from claviger.budget_ledger where ledger = p_ledger and period_start = p_period_start for update;
  select * into pot from claviger.budget_pot
   where ledger = p_ledger and period_start = p_period_start and gateway_id = p_gateway_id and incarnation = p_incarnation;
  if not found then
    return 0;
  end if;
  held_nano := greatest(0, pot.amount_nano - pot.settled_nano);
  perform claviger.set_pot_amount(pot, pot.settled_nano);
  if p_write_off then
    update claviger.budget_ledger set settled_nano = settled_nano + held_nano
     where ledger = p_ledger and period_start = p_period_start;
  end if;
  update claviger.budget_pot set closed_at = now(), closed_told = false
   where ledger = p_ledger and period_start = p_period_start and gateway_id = p_gateway_id and incarnation = p_incarnation;
  return held_nano;
end
$$;
