import { deleteCustomersRoutes } from '../../../contract/routes/customers.ts';
import { deleteObject } from '../../accounts/change-object.ts';
import { customerNotFound, lockCustomers } from '../../accounts/customer-objects.ts';
import { writeObjects } from '../../accounts/write-objects.ts';
import { endpoint } from '../handler.ts';

export const deleteCustomersEndpoints = deleteCustomersRoutes.map((route) =>
  endpoint(route, async ({ body, origin }, context) => {
    const userIds = [...new Set(body.user_ids)];
    if (userIds.length === 0) throw customerNotFound('');
    const { value, rev } = await writeObjects(context, origin, async (write) => {
      const found = await lockCustomers(write, userIds);
      for (const customer of found) await deleteObject(write, 'customer', customer);
      return found.length;
    });
    return {
      json: { deleted_customers: value, message: `Successfully deleted customers with ids: ${userIds.join(', ')}` },
      rev,
    };
  }),
);
