import { z } from 'zod';
import { defineRoute } from '../define-route.ts';
import {
  blockedCustomers,
  customerIdsBody,
  customerInfoQuery,
  customerRow,
  customerRows,
  deletedCustomers,
  newCustomerBody,
  stillBlocked,
  updateCustomerBody,
} from '../schemas/customer.ts';

const none = z.object({});
const tag = 'customer management';

/** `/end_user` is another name of `/customer`. */
function bothNames<Route extends { readonly path: string; readonly operationId: string }>(
  route: Route,
): readonly [Route, Route] {
  return [
    route,
    {
      ...route,
      path: route.path.replace('/customer/', '/end_user/'),
      operationId: route.operationId.replace('customer', 'end_user'),
    },
  ];
}

export const newCustomerRoutes = bothNames(
  defineRoute({
    method: 'POST',
    path: '/customer/new',
    operationId: 'new_customer',
    tag,
    summary: 'Add a customer',
    description: 'With `budget_id`, or with budget fields, from which a budget object is made.',
    access: 'proxy admin',
    query: none,
    body: newCustomerBody,
    response: customerRow,
    errors: { 400: 'The id is taken, both a budget and a budget_id were given, or a value is not allowed.' },
  }),
);

export const updateCustomerRoutes = bothNames(
  defineRoute({
    method: 'POST',
    path: '/customer/update',
    operationId: 'update_customer',
    tag,
    summary: 'Change a customer',
    description: 'Budget fields change its budget object, or make one.',
    access: 'proxy admin',
    query: none,
    body: updateCustomerBody,
    response: customerRow,
    errors: { 400: 'A value is not allowed.', 404: 'There is no such customer.' },
  }),
);

export const deleteCustomersRoutes = bothNames(
  defineRoute({
    method: 'POST',
    path: '/customer/delete',
    operationId: 'delete_customers',
    tag,
    summary: 'Delete customers',
    description: 'Their budget objects stay.',
    access: 'proxy admin',
    query: none,
    body: customerIdsBody,
    response: deletedCustomers,
    errors: { 404: 'One of them does not exist; none is deleted.' },
  }),
);

export const customerInfoRoutes = bothNames(
  defineRoute({
    method: 'GET',
    path: '/customer/info',
    operationId: 'customer_info',
    tag,
    summary: 'Show a customer',
    description: 'With its budget object.',
    access: 'proxy admin',
    query: customerInfoQuery,
    body: null,
    response: customerRow,
    errors: { 404: 'There is no such customer.' },
  }),
);

export const listCustomersRoutes = bothNames(
  defineRoute({
    method: 'GET',
    path: '/customer/list',
    operationId: 'list_customers',
    tag,
    summary: 'List customers',
    description: 'Up to 10,000, newest first; `x-claviger-truncated: true` says that there are more.',
    access: 'any key',
    query: none,
    body: null,
    response: customerRows,
    errors: {},
  }),
);

export const blockCustomersRoutes = bothNames(
  defineRoute({
    method: 'POST',
    path: '/customer/block',
    operationId: 'block_customers',
    tag,
    summary: 'Block customers',
    description: 'One that does not exist yet is made, so that it is blocked before its first call.',
    access: 'proxy admin',
    query: none,
    body: customerIdsBody,
    response: blockedCustomers,
    errors: {},
  }),
);

export const unblockCustomersRoutes = bothNames(
  defineRoute({
    method: 'POST',
    path: '/customer/unblock',
    operationId: 'unblock_customers',
    tag,
    summary: 'Unblock customers',
    description: 'Answers which of all customers are still blocked, up to 1,000.',
    access: 'proxy admin',
    query: none,
    body: customerIdsBody,
    response: stillBlocked,
    errors: {},
  }),
);
